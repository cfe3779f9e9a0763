"""A tensor as it travels and rests: coded bytes with the facts needed to check them before they are
decoded.

Short-term memory is encoded where it is made (the client) and stored as it came; the server checks
the description and the checksum and never trusts a length that the payload claims about itself.
The codecs live in `memdb.codecs`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Codec(IntEnum):
    """How a payload is coded.  Numbers are on disk and on the wire: never reuse one."""

    F16 = 1
    """Little-endian float16, C order."""
    F16_ZSTD = 2
    """One zstd frame of `F16`, its content size in the header."""


@dataclass(frozen=True, slots=True)
class EncodedTensor:
    """A coded (rows, dim) tensor."""

    codec: Codec
    shape: tuple[int, ...]
    payload: bytes
    checksum: int
    """xxh3_64 of ``payload``."""
