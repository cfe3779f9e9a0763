"""Short-term memory of clips, as arrays and as coded tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import xxhash
import zstandard

from memdb import InvalidArgument, NotFound
from memdb.types.tensor import Codec, EncodedTensor
from tests.congruence.refused.bad import HUGE, NOBODYS_ID, Bad, write

FRAME = zstandard.ZstdCompressor().compress(bytes(8))


def tensor(
    shape: tuple[int, ...], payload: Any, codec: Any = Codec.F16, **fields: Any
) -> EncodedTensor:
    checksum = fields["checksum"] if fields else xxhash.xxh3_64_intdigest(payload)
    return EncodedTensor(codec, shape, payload, checksum)


SHORT_MEMORY: list[Bad] = [
    Bad(
        "id.other",
        lambda db, user: user.short_memory([NOBODYS_ID]),
        NotFound,
        "CLIP_NOT_FOUND",
        "clip_ids[0]",
        NOBODYS_ID,
    ),
    Bad(
        "tokens.zero",
        write(short_memory=np.ones((0, 4), np.float32)),
        InvalidArgument,
        "EMPTY",
        "clip.short_memory",
        "(0, 4)",
    ),
    Bad(
        "tokens.dim",
        write(short_memory=np.ones((2, 5), np.float32)),
        InvalidArgument,
        "DIM_MISMATCH",
        "clip.short_memory",
        "(2, 5)",
    ),
    Bad(
        "tokens.nan",
        write(short_memory=np.full((2, 4), np.nan, np.float32)),
        InvalidArgument,
        "NOT_FINITE",
        "clip.short_memory",
    ),
    Bad(
        "tokens.float16",
        write(short_memory=np.full((2, 4), 1e6, np.float32)),
        InvalidArgument,
        "NOT_FINITE",
        "clip.short_memory",
    ),
    Bad(
        "tensor.length",
        write(short_memory=tensor((2, 4), bytes(15))),
        InvalidArgument,
        "LENGTH_MISMATCH",
        "clip.short_memory",
        "15",
    ),
    Bad(
        "tensor.checksum",
        write(short_memory=tensor((2, 4), bytes(16), checksum=1)),
        InvalidArgument,
        "CHECKSUM",
        "clip.short_memory",
    ),
    Bad(
        "tensor.overflow",
        write(short_memory=tensor((2**16, 4), bytes(16))),
        InvalidArgument,
        "LENGTH_MISMATCH",
        "clip.short_memory",
        "16",
    ),
    Bad(
        "tensor.rows",
        write(short_memory=tensor((2**20, 4), bytes(16))),
        InvalidArgument,
        "BAD_SHAPE",
        "clip.short_memory",
        "(1048576, 4)",
    ),
    Bad(
        "tensor.zstd",
        write(short_memory=tensor((2, 4), FRAME, Codec.F16_ZSTD)),
        InvalidArgument,
        "BAD_FRAME",
        "clip.short_memory",
        "8",
    ),
    Bad(
        "tensor.nozstd",
        write(short_memory=tensor((2, 4), b"junk", Codec.F16_ZSTD)),
        InvalidArgument,
        "BAD_FRAME",
        "clip.short_memory",
    ),
    Bad(
        "tensor.int4",
        write(short_memory=tensor((2, 4), bytes(9), Codec.INT4)),
        InvalidArgument,
        "LENGTH_MISMATCH",
        "clip.short_memory",
        "9",
    ),
    Bad(
        "tensor.delta",
        write(short_memory=tensor((2, 4), b"junk" * 4, Codec.DELTA)),
        InvalidArgument,
        "BAD_FRAME",
        "clip.short_memory",
    ),
    Bad(
        "tensor.shape",
        write(short_memory=tensor((), b"")),
        InvalidArgument,
        "BAD_SHAPE",
        "clip.short_memory",
        "()",
    ),
    Bad(
        "tensor.shape.huge",
        write(short_memory=tensor((HUGE, 4), b"")),
        InvalidArgument,
        "BAD_SHAPE",
        "clip.short_memory",
        "<tuple>",
    ),
    Bad(
        "tensor.negative",
        write(short_memory=tensor((-1, 4), bytes(8))),
        InvalidArgument,
        "EMPTY",
        "clip.short_memory",
        "(-1, 4)",
    ),
    Bad(
        "tensor.payload",
        write(short_memory=tensor((1, 4), None, checksum=0)),
        InvalidArgument,
        "BAD_TYPE",
        "clip.short_memory",
        "NoneType",
    ),
    Bad(
        "tensor.codec",
        write(short_memory=tensor((1, 4), bytes(8), "x")),
        InvalidArgument,
        "BAD_CODEC",
        "clip.short_memory",
        "x",
    ),
    Bad(
        "tensor.codec.number",
        write(short_memory=tensor((1, 4), bytes(8), 9)),
        InvalidArgument,
        "BAD_CODEC",
        "clip.short_memory",
        "9",
    ),
    Bad(
        "tensor.checksum.negative",
        write(short_memory=tensor((1, 4), bytes(8), checksum=-1)),
        InvalidArgument,
        "CHECKSUM",
        "clip.short_memory",
    ),
    Bad(
        "ids.none",
        lambda db, user: user.short_memory(None),
        InvalidArgument,
        "BAD_TYPE",
        "clip_ids",
        "NoneType",
    ),
    Bad(
        "ids.text",
        lambda db, user: user.short_memory("abc"),
        InvalidArgument,
        "BAD_TYPE",
        "clip_ids",
        "abc",
    ),
    Bad(
        "ids.item",
        lambda db, user: user.short_memory([5]),
        InvalidArgument,
        "BAD_TEXT",
        "clip_ids[0]",
        "int",
    ),
    Bad(
        "ids.nobody",
        lambda db, user: db.user("nobody").short_memory([]),
        NotFound,
        "USER_NOT_FOUND",
        "user",
        "nobody",
    ),
]
