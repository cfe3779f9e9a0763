"""Past moments: how ``as_of`` crosses the wire."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from memdb.errors import InvalidArgument
from memdb.types.arguments import checked_as_of
from memdb.types.grounding import AsOf
from memdb.types.ids import check_id
from memdb.types.snapshot import Snapshot
from memdb.types.times import as_ns
from memdb.v1 import types_pb2 as pb
from memdb.wire.snapshots import snapshot_from_proto, snapshot_to_proto

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def as_of_to_proto(as_of: AsOf | None) -> pb.AsOf | None:
    """The moment as a message, None for the newest; a snapshot goes along with its revision.

    Raises `InvalidArgument` and `NotFound` as the call would.
    """
    moment = checked_as_of(as_of)
    if moment is None:
        return None
    if isinstance(moment, datetime):
        return pb.AsOf(time_ns=as_ns(moment, "as_of"))
    if isinstance(moment, str):
        return pb.AsOf(snapshot=moment)
    if isinstance(moment, Snapshot):
        return pb.AsOf(revision=moment.revision, taken=snapshot_to_proto(moment))
    return pb.AsOf(revision=moment)


def as_of_from_proto(message: pb.AsOf, present: bool) -> AsOf | None:
    """The moment of a message, None when it was left out; times are floored to microseconds."""
    if not present:
        return None
    if message.HasField("taken"):
        return snapshot_from_proto(message.taken)
    which = message.WhichOneof("moment")
    if which == "revision":
        return message.revision
    if which == "snapshot":
        return check_id(message.snapshot, "as_of")
    if which == "time_ns":
        return _EPOCH + timedelta(microseconds=as_ns(message.time_ns, "as_of") // 1000)
    raise InvalidArgument("as_of names no moment", reason="EMPTY", field="as_of")
