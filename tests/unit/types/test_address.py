"""What is no address is refused at once; what gRPC takes is taken."""

from __future__ import annotations

import pytest

import memdb_client
from memdb import InvalidArgument
from memdb.types.address import checked_address


@pytest.mark.parametrize(
    "address",
    ["localhost:7700", "10.0.0.5:1", "[::1]:7700", "[fe80::1%eth0]:7700", "my_host:65535",
     "memory.example.:7700", "dns:memory:7700", "dns:///memory.example:7700", "dns:memory",
     "dns://10.0.0.1/memory.example:7700", "ipv4:127.0.0.1:7700", "ipv4:10.0.0.1:1,10.0.0.2:1",
     "ipv6:[::1]:7700", "unix:/run/memdb.sock", "unix:relative.sock", "unix:///run/memdb.sock",
     "unix-abstract:memdb", "vsock:2:7700"],
)  # fmt: skip
def test_an_address(address: str) -> None:
    assert checked_address(address, "address") == address


@pytest.mark.parametrize(
    ("address", "hint"),
    [
        ("http://host:1", "no URL"),
        ("https://host:7700/", "no URL"),
        ("grpc://host:7700", "no URL"),
        ("banana", "no port"),
        ("::1", "unix:PATH"),
        ("[::1]", "no port"),
        *((text, "such as localhost:7700") for text in
          ["", "host:notaport", ":7700", "host:", "host:0", "host:65536", "host:-1", "host:1:2",
           "host:7700/", "host:7700 ", " host:7700", "user@host:7700", "host:\u0661", "unix:",
           "unix:\0x", "ipv4:10.0.0.1", "ipv4:10.0.0.1:70000", "dns:", "dns:host:http",
           "dns:host:0", "host:1,host:2", "banana:7700:7700"]),
    ],
)  # fmt: skip
def test_anything_else_is_refused_where_it_is_given(address: str, hint: str) -> None:
    for connect in (memdb_client.connect, memdb_client.connect_async):
        with pytest.raises(InvalidArgument, match="expected HOST:PORT") as refused:
            connect(address)
        assert (refused.value.reason, refused.value.field) == ("BAD_ADDRESS", "address")
        assert hint in str(refused.value)


def test_what_is_no_text_is_refused_as_that() -> None:
    for address in (None, 7700, b"localhost:7700"):
        with pytest.raises(InvalidArgument) as refused:
            memdb_client.connect(address)  # type: ignore[arg-type]
        assert (refused.value.reason, refused.value.field) == ("BAD_ADDRESS", "address")
