"""A tensor as it travels and rests: coded bytes with the facts needed to check them before they are
decoded.

Short-term memory is encoded where it is made (the client) and stored as it came; the server checks
the description and the checksum and never trusts a length that the payload claims about itself.
The codecs live in `memdb.codecs`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from memdb.errors import InvalidArgument
from memdb.types.limits import DIM_MAX, SHORT_MEMORY_BYTES_MAX, TOKENS_MAX
from memdb.types.shown import shown

_ELEMENT_BYTES: Final = 2
"""Of a decoded element, float16."""


class Codec(IntEnum):
    """How a payload is coded.  Numbers are on disk and on the wire: never reuse one."""

    F16 = 1
    """Little-endian float16, C order."""
    F16_ZSTD = 2
    """One zstd frame of `F16`, its content size in the header."""
    F16_PLANES = 3
    """Without loss: byte planes of `F16` in a zstd frame, `memdb.codecs.planes`."""
    INT8 = 4
    """A step for each token, 255 levels, `memdb.codecs.grid`."""
    INT4 = 5
    """A step for each 32 elements, 16 levels, `memdb.codecs.int4`."""
    DELTA = 6
    """A tenth of a root mean square as step, differences between frames, `memdb.codecs.grid`."""
    COARSE = 7
    """As `DELTA`, a third of a root mean square as step."""


CODEC_NAMES: Final = {
    "plain": Codec.F16,
    "f16": Codec.F16_PLANES,
    "f16-zstd": Codec.F16_ZSTD,
    "int8": Codec.INT8,
    "int4": Codec.INT4,
    "delta": Codec.DELTA,
    "coarse": Codec.COARSE,
}
"""What a stream's handle calls them."""
_CODECS: Final = frozenset(Codec)


def codec_named(name: object) -> Codec:
    """The codec of that name, `Codec.F16` for None; raises `InvalidArgument` (``BAD_CODEC``)."""
    if name is None:
        return Codec.F16
    codec = CODEC_NAMES.get(name) if isinstance(name, str) else None
    if codec is None:
        raise InvalidArgument(
            f"a codec is one of {', '.join(CODEC_NAMES)}",
            reason="BAD_CODEC",
            field="codec",
            value=name,
        )
    return codec


@dataclass(frozen=True, slots=True)
class EncodedTensor:
    """A coded (rows, dim) tensor."""

    codec: Codec
    shape: tuple[int, ...]
    payload: bytes | memoryview
    """Bytes, or a view of bytes or of a read-only array."""
    checksum: int
    """xxh3_64 of ``payload``."""

    def __repr__(self) -> str:
        return shown(self)


def check_description(tensor: EncodedTensor, field: str) -> None:
    """Refuse what can be refused before the payload is read.

    Raises `InvalidArgument`: ``BAD_CODEC``, ``BAD_SHAPE``, ``EMPTY``, ``TOO_LARGE``, ``BAD_TYPE``,
    ``LENGTH_MISMATCH``, ``CHECKSUM``.
    """
    codec, shape, payload = tensor.codec, tensor.shape, tensor.payload
    if not isinstance(codec, int) or codec not in _CODECS:
        raise InvalidArgument("unknown codec", reason="BAD_CODEC", field=field, value=codec)
    if (
        not isinstance(shape, tuple)
        or len(shape) != 2
        or not isinstance(shape[0], int)
        or not isinstance(shape[1], int)
    ):
        raise InvalidArgument("expected 2 dimensions", reason="BAD_SHAPE", field=field, value=shape)
    rows, dim = shape
    if rows <= 0 or dim <= 0:
        raise InvalidArgument("array is empty", reason="EMPTY", field=field, value=shape)
    if rows > TOKENS_MAX or dim > DIM_MAX:
        raise InvalidArgument(
            f"at most {TOKENS_MAX} tokens of dim {DIM_MAX}",
            reason="BAD_SHAPE",
            field=field,
            value=shape,
        )
    size = rows * dim * _ELEMENT_BYTES
    if size > SHORT_MEMORY_BYTES_MAX:
        raise InvalidArgument(
            f"more than {SHORT_MEMORY_BYTES_MAX} bytes as float16",
            reason="TOO_LARGE",
            field=field,
            value=shape,
        )
    if not isinstance(payload, bytes) and not (
        # Whose bytes cannot change.
        isinstance(payload, memoryview)
        and isinstance(payload.obj, bytes)
        and payload.format == "B"
        and payload.contiguous
    ):
        raise InvalidArgument(
            "a payload is bytes", reason="BAD_TYPE", field=field, value=type(payload).__name__
        )
    if codec == Codec.F16 and len(payload) != size:
        raise InvalidArgument(
            f"{rows} x {dim} float16 take {size} bytes",
            reason="LENGTH_MISMATCH",
            field=field,
            value=len(payload),
        )
    if not isinstance(tensor.checksum, int) or not 0 <= tensor.checksum < 2**64:
        raise InvalidArgument("payload does not match its checksum", reason="CHECKSUM", field=field)
