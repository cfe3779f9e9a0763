"""Streams, their ledgers and gaps."""

from __future__ import annotations

from memdb.types.arguments import checked_times
from memdb.types.gap_page import checked_gap_page
from memdb.types.grounding import AsOf
from memdb.types.stream import Gap, Ledger, StreamInfo
from memdb.types.times import Time
from memdb.types.zone import UTC_ZONE
from memdb.v1 import clip_service_pb2 as clip_pb
from memdb.v1 import types_pb2 as pb
from memdb.wire.moments import as_of_to_proto


def stream_to_proto(stream: StreamInfo) -> pb.StreamInfo:
    """A stream as a message."""
    return pb.StreamInfo(
        name=stream.name,
        space=stream.space,
        revision=stream.revision,
        id=stream.id,
        zone=stream.zone,
    )


def stream_from_proto(message: pb.StreamInfo) -> StreamInfo:
    """The stream of a message."""
    # A server that knows no zones leaves it out.
    zone = message.zone or UTC_ZONE
    return StreamInfo(message.name, message.space, message.revision, message.id, zone)


def gap_to_proto(gap: Gap) -> pb.Gap:
    """A gap as a message."""
    return pb.Gap(
        stream=gap.stream,
        epoch=gap.epoch,
        first_seq=gap.first_seq,
        last_seq=gap.last_seq,
        start_ns=gap.start_ns,
        end_ns=gap.end_ns,
        damaged=gap.reason == "damaged",
    )


def gap_from_proto(message: pb.Gap) -> Gap:
    """The gap of a message."""
    return Gap(
        message.stream,
        message.epoch,
        message.first_seq,
        message.last_seq,
        message.start_ns if message.HasField("start_ns") else None,
        message.end_ns if message.HasField("end_ns") else None,
        "damaged" if message.damaged else "missing",
    )


def list_gaps_request(
    user: str,
    stream: str,
    *,
    start_ns: Time | None,
    end_ns: Time | None,
    as_of: AsOf | None,
    limit: int | None,
    after: Gap | None,
) -> clip_pb.ListGapsRequest:
    """The request for `Stream.gaps`, a page at a time; raises `InvalidArgument` as the call would."""
    limit, after = checked_gap_page(limit, after)
    start, end = checked_times(start_ns, end_ns)
    return clip_pb.ListGapsRequest(
        user=user,
        stream=stream,
        start_ns=start,
        end_ns=end,
        as_of=as_of_to_proto(as_of),
        limit=limit or 0,
        after=None if after is None else gap_to_proto(after),
        paged=True,
    )


def ledger_to_proto(ledger: Ledger) -> clip_pb.Ledger:
    """A ledger as a message."""
    return clip_pb.Ledger(
        stream=ledger.stream,
        epoch=ledger.epoch,
        next_seq=ledger.next_seq,
        clips=ledger.clips,
        first_start_ns=ledger.first_start_ns,
        last_end_ns=ledger.last_end_ns,
        gaps=[gap_to_proto(gap) for gap in ledger.gaps],
    )


def ledger_from_proto(message: clip_pb.Ledger) -> Ledger:
    """The ledger of a message."""
    return Ledger(
        message.stream,
        message.epoch,
        message.next_seq,
        message.clips,
        message.first_start_ns if message.HasField("first_start_ns") else None,
        message.last_end_ns if message.HasField("last_end_ns") else None,
        tuple(gap_from_proto(gap) for gap in message.gaps),
    )
