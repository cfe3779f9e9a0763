"""The answer that acknowledges clips of an ingest, put together of its bytes: the same as protobuf makes of
`memdb.v1.clip_service_pb2.IngestClipsResponse`.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from memdb.types.clip import Ack
from memdb.wire.fields import VARINT, head, tag_of, varint_bytes

_ACKS: Final = tag_of(2)
"""``IngestClipsResponse.acks``."""
_ACK: Final = tag_of(1)
"""``IngestAcks.acks``."""
_ID: Final = tag_of(1)
"""``ClipAck.clip_id``."""
_REVISION: Final = varint_bytes(tag_of(2, VARINT))
_DUPLICATE: Final = varint_bytes(tag_of(3, VARINT)) + b"\x01"


def packed_acks(acks: Iterable[Ack | bytes]) -> bytes:
    """The message; empty where there is nothing to acknowledge.

    acks: also as the fields of ``IngestAcks`` that somebody else has made of some.
    """
    pieces: list[bytes] = []
    for ack in acks:
        if isinstance(ack, bytes):
            pieces.append(ack)
            continue
        clip_id = ack.clip_id.encode()
        before, behind = _around(len(clip_id), ack.revision, ack.duplicate)
        pieces += (before, clip_id, behind)
    body = b"".join(pieces)
    return head(_ACKS, len(body)) + body if body else b""


@lru_cache(maxsize=64)
def _around(id_bytes: int, revision: int, duplicate: bool) -> tuple[bytes, bytes]:
    """What stands before an id and behind it: all clips of a commit have it in common."""
    its_id = head(_ID, id_bytes)
    behind = _REVISION + varint_bytes(revision) if revision else b""
    if duplicate:
        behind += _DUPLICATE
    length = len(its_id) + id_bytes + len(behind)
    return head(_ACK, length) + its_id, behind
