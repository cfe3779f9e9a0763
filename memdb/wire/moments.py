"""Past moments: how ``as_of`` and times cross the wire."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np

from memdb.errors import InvalidArgument, NotFound
from memdb.types.clip import check_int
from memdb.types.grounding import AsOf
from memdb.types.ids import check_id
from memdb.types.snapshot import Snapshot
from memdb.types.times import Time, as_ns
from memdb.v1 import types_pb2 as pb

REVISION_MAX = 2**63 - 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def as_of_to_proto(as_of: AsOf | None) -> pb.AsOf | None:
    """The moment as a message, None for the newest; a snapshot value stands for its revision."""
    if as_of is None:
        return None
    if isinstance(as_of, Snapshot):
        return pb.AsOf(revision=as_of.revision)
    if isinstance(as_of, datetime):
        return pb.AsOf(time_ns=as_ns(as_of, "as_of"))
    if isinstance(as_of, str):
        return pb.AsOf(snapshot=check_id(as_of, "as_of"))
    if isinstance(as_of, (int, np.integer)) and not isinstance(as_of, bool):
        if not 0 <= as_of <= REVISION_MAX:
            raise NotFound(
                "no such revision", reason="REVISION_NOT_FOUND", field="as_of", value=int(as_of)
            )
        return pb.AsOf(revision=int(as_of))
    raise InvalidArgument(
        "expected a revision, an aware datetime or a snapshot",
        reason="BAD_TYPE",
        field="as_of",
        value=type(as_of).__name__,
    )


def as_of_from_proto(message: pb.AsOf, present: bool) -> AsOf | None:
    """The moment of a message, None when it was left out; times are floored to microseconds."""
    if not present:
        return None
    which = message.WhichOneof("moment")
    if which == "revision":
        return message.revision
    if which == "snapshot":
        return check_id(message.snapshot, "as_of")
    if which == "time_ns":
        return _EPOCH + timedelta(microseconds=as_ns(message.time_ns, "as_of") // 1000)
    raise InvalidArgument("as_of names no moment", reason="EMPTY", field="as_of")


def revision_argument(revision: int | None, field: str = "min_revision") -> int | None:
    """A revision that a caller may have given, within what the wire can carry."""
    return None if revision is None else check_int(revision, field, 0, REVISION_MAX)


def time_argument(time: Time | None, field: str) -> int | None:
    """A time that a caller may have given, in nanoseconds."""
    return None if time is None else as_ns(time, field)
