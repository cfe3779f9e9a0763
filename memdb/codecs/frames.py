"""zstd frames that must hold exactly so many bytes.

A frame states its content size in its header, wants a window of at most 8 MiB and no dictionary, and
nothing stands after it.  One that does not is refused unread: a decompressor would allocate whatever
the header claims, whatever limit it was given.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Final

import zstandard

from memdb.errors import InvalidArgument

_WINDOW_BYTES_MAX: Final = 8 << 20
_WINDOW_LOGS: Final = (10, 23)
# Quantised vectors are noise with a skewed histogram: what pays is the entropy stage.  Short matches
# cost more than they save there (7 bytes at least), and a table of 64 places finds the long ones.
_NOISE_HASH_LOG: Final = 6
_HASH_LOG: Final = 12


class _Kept(threading.local):
    """A decompressor for each thread: making one takes as long as a small frame."""

    def __init__(self) -> None:
        self.inflater = zstandard.ZstdDecompressor()


_KEPT: Final = _Kept()


def deflate(parts: Iterable[bytes | memoryview], size: int, *, is_noise: bool) -> bytes:
    """One frame of ``size`` bytes that come in parts; each part gets its own entropy tables.

    is_noise: there is nothing that comes again.
    """
    hash_log = _NOISE_HASH_LOG if is_noise else _HASH_LOG
    low, high = _WINDOW_LOGS
    settings = zstandard.ZstdCompressionParameters(
        strategy=zstandard.STRATEGY_FAST,
        min_match=7,
        window_log=min(high, max(low, (size - 1).bit_length())),
        hash_log=hash_log,
        chain_log=hash_log,
        search_log=1,
        target_length=0,
    )
    deflater = zstandard.ZstdCompressor(compression_params=settings).compressobj(size=size)
    pieces: list[bytes] = []
    for part in parts:
        pieces.append(deflater.compress(part))
        pieces.append(deflater.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK))
    pieces.append(deflater.flush())
    return b"".join(pieces)


def inflate(frame: bytes | memoryview, size: int, field: str) -> bytes:
    """The ``size`` bytes of a frame; raises `InvalidArgument` (``BAD_FRAME``) naming ``field``."""
    try:
        header = zstandard.get_frame_parameters(frame)
    except zstandard.ZstdError as error:
        raise InvalidArgument("not a zstd frame", reason="BAD_FRAME", field=field) from error
    # content_size is 2**64 - 1 when the frame does not say.
    if header.content_size != size:
        raise InvalidArgument(
            f"zstd frame must state {size} bytes",
            reason="BAD_FRAME",
            field=field,
            value=header.content_size,
        )
    if header.window_size > _WINDOW_BYTES_MAX and header.window_size > size:
        raise InvalidArgument(
            "zstd window is too large", reason="BAD_FRAME", field=field, value=header.window_size
        )
    if header.dict_id != 0:
        raise InvalidArgument(
            "zstd frame needs a dictionary", reason="BAD_FRAME", field=field, value=header.dict_id
        )
    try:
        # Allocates the size that was just compared, and fails where the frame holds another.
        raw = _KEPT.inflater.decompress(frame, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise InvalidArgument("zstd frame is damaged", reason="BAD_FRAME", field=field) from error
    if len(raw) != size:
        raise InvalidArgument(
            "zstd frame has another size than it states",
            reason="BAD_FRAME",
            field=field,
            value=len(raw),
        )
    return raw
