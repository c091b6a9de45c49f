"""MCP over gRPC, both sides, for Gleitzeit."""

from gleitzeit_plugin_mcp_grpc.transport import GrpcConfig, GrpcTransport

__all__ = ["GrpcConfig", "GrpcTransport"]
