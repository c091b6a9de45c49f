"""Addresses as they are written, and who may reach them."""

import re

import pytest
from gleitzeit_plugin_mcp_grpc import GrpcTransport
from gleitzeit_plugin_mcp_grpc.address import Address, parse

from gleitzeit.errors import ConfigError
from gleitzeit.kinds import Endpoint, Wire


@pytest.mark.parametrize(
    "text, found",
    [
        ("grpc://localhost:1", Address("localhost:1", tls=False, local=True)),
        ("grpcs://far.example:50051/", Address("far.example:50051", tls=True, local=False)),
        ("127.0.0.1:9", Address("127.0.0.1:9", tls=None, local=True)),
        ("grpc://[::1]:9", Address("[::1]:9", tls=False, local=True)),
        ("grpc://0.0.0.0:9", Address("0.0.0.0:9", tls=False, local=False)),
        ("unix:/run/mcp.sock", Address("unix:/run/mcp.sock", tls=None, local=True)),
        ("unix:///run/mcp.sock", Address("unix:/run/mcp.sock", tls=None, local=True)),
    ],
)
def test_an_address_is_read(text: str, found: Address) -> None:
    assert parse(text, "here") == found


@pytest.mark.parametrize(
    "text",
    [
        "http://x:1",
        "grpc://x",
        "grpc://x:port",
        "grpc://x:99999",
        "grpc://:1",
        "grpc://u:canary@x:1",
        "x:1/canary",
        "x:1?canary",
        "unix:here",
        "",
    ],
)
def test_what_is_none_is_told_without_being_quoted(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^here") as told:
        parse(text, "here")
    assert "canary" not in str(told.value)
    assert "grpc://HOST:PORT" in str(told.value.hint)


async def _nobody(wire: Wire) -> None:
    raise AssertionError(wire)


async def test_credentials_do_not_travel_in_the_open(transport: GrpcTransport) -> None:
    far = Endpoint("far", url="grpc://mcp.example:1", headers={"authorization": "Bearer canary"})
    with pytest.raises(ConfigError, match="unencrypted") as told:
        async with transport.connect(far):
            pass
    assert "canary" not in repr(told.value)


async def test_a_door_to_other_machines_wants_tls_and_a_token(transport: GrpcTransport) -> None:
    for options in ({}, {"token": "t"}, {"cert_file": "c"}):
        with pytest.raises(ConfigError, match="other machines") as told:
            async with transport.listen("grpc://0.0.0.0:0", _nobody, options):
                pass
        assert "127.0.0.1" in str(told.value.hint)


@pytest.mark.parametrize(
    "options, told",
    [
        ({"use_tsl": True}, r"servers\.far\.options\.use_tsl: .*use_tls"),
        ({"connect_timeout": -1}, r"servers\.far\.options\.connect_timeout"),
        ({"use_tls": True, "ca_file": "/nowhere.pem"}, r"servers\.far\.options\.ca_file: .*No such file"),
    ],
)
async def test_a_wrong_option_is_told(
    transport: GrpcTransport, options: dict[str, object], told: str
) -> None:
    far = Endpoint("far", url="localhost:1", options=options)
    with pytest.raises(ConfigError) as error:
        async with transport.connect(far):
            pass
    assert re.search(told, f"{error.value} {error.value.hint}")


async def test_a_server_without_an_address_is_told(transport: GrpcTransport) -> None:
    with pytest.raises(ConfigError, match="needs an address"):
        async with transport.connect(Endpoint("far", command=("x",))):
            pass
