"""Bytes and their meaning: SSE and NDJSON, the codec of values, the HTTP client, wire errors and names."""

__all__: list[str] = []
