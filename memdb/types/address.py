"""What an address of a server looks like.

gRPC takes any text at all: what it does not know it takes for the name of a host, and asks for it
until the deadline.  What can be told apart without asking anybody is refused at once.
"""

from __future__ import annotations

import re
from typing import Final

from memdb.errors import InvalidArgument

PORT_MAX: Final = 65_535

_HOST: Final = r"[^\s:/@,\[\]]+"
_IPV6: Final = r"\[[0-9A-Fa-f:.]+(?:%[^\s/\]]+)?\]"
_PORT: Final = r"[0-9]{1,5}"
_PATTERNS: Final = (
    rf"(?:{_HOST}|{_IPV6}):{_PORT}",
    # The schemes of gRPC (doc/naming.md there).  Of `dns:` alone the port may be left out: it is 443.
    rf"dns:(?://[^\s/]*/)?(?:{_HOST}|{_IPV6})(?::{_PORT})?",
    rf"ipv4:{_HOST}:{_PORT}(?:,{_HOST}:{_PORT})*",
    rf"ipv6:{_IPV6}:{_PORT}(?:,{_IPV6}:{_PORT})*",
    r"unix:[^\0]+",
    r"unix-abstract:.+",
    r"vsock:[0-9]+:[0-9]+",
    r"xds:\S+",
)
_ADDRESS: Final = re.compile("|".join(f"(?:{pattern})" for pattern in _PATTERNS), re.ASCII)
_PORTS: Final = re.compile(rf":({_PORT})(?=,|\Z)", re.ASCII)
_OTHERS: Final = ("unix:", "unix-abstract:", "vsock:", "xds:")
"""Schemes whose names have no port of TCP."""


def checked_address(address: object, field: str) -> str:
    """``address`` if it is ``HOST:PORT``, ``unix:PATH`` or another that gRPC knows, else
    `InvalidArgument` (``BAD_ADDRESS``).
    """
    if not isinstance(address, str) or not _ADDRESS.fullmatch(address) or not _ports_exist(address):
        raise InvalidArgument(
            f"expected HOST:PORT, such as localhost:7700, or unix:PATH{_hint(address)}",
            reason="BAD_ADDRESS",
            field=field,
            value=address,
        )
    return address


def _ports_exist(address: str) -> bool:
    if address.startswith(_OTHERS):
        return True
    return all(0 < int(port) <= PORT_MAX for port in _PORTS.findall(address))


def _hint(address: object) -> str:
    """What is likely wrong, where it is one of the usual."""
    if not isinstance(address, str):
        return ""
    if re.match(r"(?:https?|grpcs?|tcp)://", address):
        return "; no URL"
    if re.fullmatch(rf"{_HOST}|{_IPV6}", address):
        return "; there is no port"
    return ""
