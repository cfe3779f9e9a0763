"""Streams under legal hold, as a commit sees them."""

from __future__ import annotations

from memdb.engine.applied import Applied
from memdb.engine.state import StreamState
from memdb.errors import FailedPrecondition, NotFound


def held(stream: str) -> FailedPrecondition:
    """The error of whoever would erase what is under legal hold."""
    return FailedPrecondition(
        "the stream is under legal hold", reason="LEGAL_HOLD", field="stream", value=stream
    )


def stream_named(applied: Applied, name: str) -> StreamState:
    """The stream of that name; raises `NotFound` (``STREAM_NOT_FOUND``)."""
    stream = applied.draft.streams.get(name)
    if stream is None:
        raise NotFound("no such stream", reason="STREAM_NOT_FOUND", field="stream", value=name)
    return stream


def is_held(applied: Applied, stream_no: int | None) -> bool:
    """Whether a stream is under legal hold; where nobody can tell which it is, whether any is."""
    held_nos = {no for no, policy in applied.draft.retention.items() if policy.hold}
    return bool(held_nos) if stream_no is None else stream_no in held_nos
