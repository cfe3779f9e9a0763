"""Applying to spaces and streams: found, or made when they are new."""

from __future__ import annotations

from memdb.engine.applied import Applied
from memdb.engine.state import Draft, StreamState
from memdb.errors import FailedPrecondition, NotFound, ResourceExhausted
from memdb.store import schema
from memdb.store.records import (
    LogEntry,
    SpaceRecord,
    StreamRecord,
    pack,
)
from memdb.store.schema import Table
from memdb.store.transaction import Transaction
from memdb.types.limits import STREAMS_MAX
from memdb.types.space import Space
from memdb.types.zone import UTC_ZONE


def space_no_of(txn: Transaction, draft: Draft, space: Space) -> int:
    """The user's number of a space, handed out when the user meets it first."""
    for no, known in draft.spaces.items():
        if known == space:
            return no
    no = draft.next_space_no
    draft.next_space_no += 1
    key = schema.number_key(no)
    txn.put(
        Table.SPACES, key, pack(key, SpaceRecord(space.name, space.dim, space.metric, space.model))
    )
    draft.spaces[no] = space
    return no


def stream_of(
    txn: Transaction, applied: Applied, name: str, space: Space | None, zone: str | None = None
) -> StreamState:
    """The stream, created in ``space`` when it does not exist.

    Raises `FailedPrecondition` (``SPACE_MISMATCH``, ``ZONE_MISMATCH``), `NotFound` (``STREAM_NOT_FOUND``).
    """
    draft = applied.draft
    stream = draft.streams.get(name)
    if stream is not None:
        actual = draft.spaces[stream.space_no]
        if space is not None and space != actual:
            raise FailedPrecondition(
                f"stream {name} is in space {actual.name}",
                reason="SPACE_MISMATCH",
                field="space",
                value=space.name,
            )
        if zone is not None and zone != stream.zone:
            # Fixed, as the space is: what an earlier revision answers must not change.
            raise FailedPrecondition(
                f"stream {name} is in zone {stream.zone}",
                reason="ZONE_MISMATCH",
                field="zone",
                value=zone,
            )
        return stream
    if space is None:
        raise NotFound(
            "no such stream; name its space to create it",
            reason="STREAM_NOT_FOUND",
            field="stream",
            value=name,
        )
    if len(draft.streams) >= STREAMS_MAX:
        raise ResourceExhausted(
            f"the user has {STREAMS_MAX} streams: erase one of them",
            reason="QUOTA",
            field="stream",
            value=name,
        )
    zone = zone or UTC_ZONE
    space_no = space_no_of(txn, draft, space)
    stream = StreamState(draft.next_stream_no, name, space_no, draft.revision, zone)
    draft.next_stream_no += 1
    key = schema.number_key(stream.no)
    txn.put(Table.STREAMS, key, pack(key, StreamRecord(name, space_no, stream.revision, zone)))
    draft.streams[name] = stream
    applied.entries.append(LogEntry("stream", no=stream.no))
    return stream
