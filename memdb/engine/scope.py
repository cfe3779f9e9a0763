"""What a question is asked of: the rows of a view that its filters admit, and what is missing there."""

from __future__ import annotations

from dataclasses import dataclass

from memdb.engine.at_once import STREAMS_COVERED_MAX
from memdb.engine.calendar_rows import within_calendar
from memdb.engine.footage import footage, searched_streams
from memdb.engine.question import Question
from memdb.engine.reading import WouldWait
from memdb.engine.state import StreamState
from memdb.engine.told_gaps import ToldGaps
from memdb.engine.view import View
from memdb.index.partition import Filter, PartitionView
from memdb.types.arrays import Array
from memdb.types.coverage import StreamCoverage


@dataclass(frozen=True, slots=True, eq=False)
class Searched:
    """The streams that a question looks at."""

    revision: int
    stream_nos: tuple[int, ...] | None
    """None for all."""
    space_no: int | None
    """None where the user has no stream yet."""
    streams: tuple[StreamState, ...]
    told: ToldGaps
    """What is missing within the time that it asks for."""


@dataclass(frozen=True, slots=True, eq=False)
class Scope:
    """A question, and the rows that may answer it."""

    view: View
    question: Question
    as_of: int | None
    """None for the view's own revision."""
    searched: Searched
    partition: PartitionView
    allowed: Array | None
    """(rows,) bool, None for all."""
    at_once: bool = False
    """Whether what takes long raises `memdb.engine.reading.WouldWait`."""

    def covered(self, told: ToldGaps, *, abstained: bool) -> tuple[StreamCoverage, ...]:
        """What was searched, where the answer is to say so; raises `WouldWait`."""
        if not (abstained or self.question.with_coverage):
            return ()
        if self.at_once and len(self.searched.streams) > STREAMS_COVERED_MAX:
            raise WouldWait
        return footage(self.partition, self.allowed, self.searched.streams, told.missing)


def searched(view: View, question: Question, as_of: int | None) -> Searched:
    """Where ``question`` looks; raises `NotFound` for what is not there."""
    revision = view.revision if as_of is None else as_of
    stream_nos = view.stream_nos(question.streams, as_of)
    space_no = view.searched_space(stream_nos, question.space, as_of, question.named_space)

    def look() -> tuple[tuple[StreamState, ...], ToldGaps]:
        streams = tuple(searched_streams(view.state, stream_nos, space_no, revision))
        names = {stream.no: stream.name for stream in streams}
        return streams, view.told_gaps(names, revision, question.start_ns, question.end_ns)

    streams, told = view.once(
        (stream_nos, space_no, revision, question.start_ns, question.end_ns),
        look,
        lambda found: len(found[0]) + len(found[1].gaps),
    )
    return Searched(revision, stream_nos, space_no, streams, told)


def scope_of(view: View, question: Question, as_of: int | None, where: Searched) -> Scope | None:
    """The rows that the filters admit; None where nothing was ever written."""
    partition = None if where.space_no is None else view.partitions.get(where.space_no)
    if partition is None:
        return None
    if as_of is not None:
        partition = partition.until(as_of)
    which = Filter(where.stream_nos, question.start_ns, question.end_ns, labels=question.labels)
    allowed = partition.allowed(which, as_of)
    calendar = question.calendar
    if calendar is not None:
        admitted = allowed
        allowed = partition.narrowed(
            (calendar, which, as_of),
            lambda: within_calendar(calendar, partition, admitted, where.streams),
        )
    return Scope(view, question, as_of, where, partition, allowed)
