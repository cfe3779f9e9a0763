"""Clips on their way out: coded, measured, and packed into messages that a server takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from memdb.codecs.tensors import checked_clip
from memdb.types.checks import check_iterable
from memdb.types.clip import Clip
from memdb.types.limits import BATCH_OPERATIONS_MAX, MESSAGE_BYTES_MAX
from memdb.types.tensor import Codec
from memdb.v1 import types_pb2 as pb
from memdb.wire.clips import clip_to_proto

BATCH_BYTES_MAX: Final = MESSAGE_BYTES_MAX - 64 * 1024
"""Clips of one message; leaves room for what stands around them."""


def clip_message(clip: Clip, codec: Codec = Codec.F16) -> pb.Clip:
    """The clip as a message, its short-term memory coded; every `Clip` fits one.

    Raises `InvalidArgument` for what is no clip or cannot be coded.
    """
    return clip_to_proto(checked_clip(clip), codec)


def batches(clips: Iterable[Clip], codec: Codec = Codec.F16) -> Iterator[list[pb.Clip]]:
    """``clips`` in order, in as few messages as the limits allow."""
    batch: list[pb.Clip] = []
    size = 0
    for clip in check_iterable(clips, "clips"):
        message = clip_message(clip, codec)
        # Tag and length of one entry take at most 6 bytes more.
        needed = message.ByteSize() + 6
        if batch and (len(batch) == BATCH_OPERATIONS_MAX or size + needed > BATCH_BYTES_MAX):
            yield batch
            batch, size = [], 0
        batch.append(message)
        size += needed
    if batch:
        yield batch
