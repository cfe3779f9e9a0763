"""A user's memory as of one commit: what every read works on.

Immutable, replaced as a whole after each commit, so a read sees the state of exactly one revision
without a lock.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, TypeVar

import numpy as np

from memdb.engine.clip_cache import KeptClips
from memdb.engine.coverage import Coverage, EpochCoverage
from memdb.engine.hydrate import Parts, clip_bytes, load_clip
from memdb.engine.pyramid import Pyramid
from memdb.engine.quarantine import DamagedClip, Quarantine, damaged_gap
from memdb.engine.reading import Reading
from memdb.engine.state import StreamState, UserState, numbered
from memdb.engine.told_gaps import ToldGaps, in_order
from memdb.errors import DataLoss, FailedPrecondition, InvalidArgument, NotFound
from memdb.eventlog import event_log
from memdb.index.columns import ALIVE
from memdb.index.partition import PartitionView
from memdb.index.text import TextView
from memdb.types.clip import StoredClip
from memdb.types.gap_page import gap_page
from memdb.types.space import Space
from memdb.types.stream import Gap

ASKED_MAX: Final = 256
"""Things that a view remembers between questions."""
ASKED_PARTS_MAX: Final = 32_768
"""Parts of all of them together; a gap takes some hundred bytes, and a user may have any number."""

_T = TypeVar("_T")

log = event_log("memdb.engine")


@dataclass(frozen=True, slots=True)
class View:
    """State and indexes at one revision."""

    state: UserState
    partitions: dict[int, PartitionView]
    """By space number."""
    texts: TextView
    coverage: Coverage
    quarantine: Quarantine
    found: list[DamagedClip]
    """Damage that readers came upon; emptied by the user's memory, which keeps it apart."""
    kept: KeptClips
    """What was read of it lately."""
    pyramid: Pyramid
    """Of the user, at whatever revision was asked about last."""
    asked: dict[Any, Any] = field(default_factory=dict)
    """What questions that look at the same streams have in common."""
    are_together: ClassVar[bool] = False
    """Whether several questions are answered on it at once, and share what each would do (`memdb.engine.together`)."""

    def note_damage(self, partition: PartitionView, row: int, error: DataLoss) -> Gap:
        """A clip could not be read whole: log it, keep it apart from now on, and how to tell it."""
        column = partition.columns
        death = int(column["death"][row])
        clip = DamagedClip(
            int(column["clip_no"][row]),
            int(column["birth"][row]),
            int(column["stream_no"][row]),
            int(column["epoch"][row]),
            int(column["seq"][row]),
            int(column["start_ns"][row]),
            int(column["end_ns"][row]),
            bool(column["sealed"][row]),
            None if death == ALIVE else death,
        )
        stream = self.state.stream_names[clip.stream_no]
        where = {"user": self.state.user, "stream": stream, "seq": clip.seq, "where": error.field}
        log.error("a clip is damaged", extra={"fields": where})
        self.found.append(clip)
        return damaged_gap(stream, clip)

    def note_damaged_version(self, clip_no: int, birth: int, error: DataLoss) -> None:
        """`note_damage` of a version that is found by its key."""
        for partition in self.partitions.values():
            column = partition.columns
            same = (column["clip_no"] == np.uint64(clip_no)) & (column["birth"] == np.uint64(birth))
            for row in np.flatnonzero(same):
                self.note_damage(partition, int(row), error)

    def once(self, key: Any, make: Callable[[], _T], parts: Callable[[_T], int]) -> _T:
        """What ``make`` makes of this view and the key alone, made once for many questions, unless it has too
        many ``parts`` to be kept.
        """
        asked = self.asked
        known: tuple[_T, int] | None = asked.get(key)
        if known is not None:
            return known[0]
        found = make()
        count = parts(found)
        if count <= ASKED_PARTS_MAX:
            # A copy: another question may add to it meanwhile.
            kept = sum(own for _, own in list(asked.values()))
            if len(asked) >= ASKED_MAX or kept + count > ASKED_PARTS_MAX:
                asked.clear()
            asked[key] = found, count
        return found

    def gaps(
        self,
        names: dict[int, str],
        revision: int,
        start_ns: int | None = None,
        end_ns: int | None = None,
    ) -> list[Gap]:
        """What is missing and what is damaged of streams (number -> name) at ``revision``."""
        gaps = self.coverage.gaps(names, revision, start_ns, end_ns)
        if self.quarantine.is_empty:
            return gaps
        damaged = self.quarantine.gaps(names, revision, start_ns, end_ns)
        return in_order([*gaps, *damaged])

    def gap_page(
        self,
        stream: StreamState,
        revision: int,
        start_ns: int | None,
        end_ns: int | None,
        limit: int | None,
        after: Gap | None,
    ) -> list[Gap]:
        """The page of `gaps` of a stream behind one of them; of what comes after it nothing is gathered."""
        first_epoch = 0 if after is None else after.epoch
        found: list[Gap] = []
        for gaps in self.coverage.gaps_by_epoch(
            stream.no, stream.name, revision, start_ns, end_ns, first_epoch=first_epoch
        ):
            found += gap_page(gaps, None, after)
            if limit is not None and len(found) >= limit:
                break
        if not self.quarantine.is_empty:
            names = {stream.no: stream.name}
            damaged = self.quarantine.gaps(names, revision, start_ns, end_ns)
            found = in_order([*found, *damaged])
        return gap_page(found, limit, after)

    def epoch_gaps(self, stream: StreamState, epoch: int, coverage: EpochCoverage) -> list[Gap]:
        """`gaps` of one epoch, as of the view's own revision; coverage: the epoch's."""
        found = coverage.gaps(stream.name, epoch, self.revision)
        if self.quarantine.is_empty:
            return found
        damaged = self.quarantine.gaps({stream.no: stream.name}, self.revision, None, None)
        return in_order([*found, *(gap for gap in damaged if gap.epoch == epoch)])

    def told_gaps(
        self,
        names: dict[int, str],
        revision: int,
        start_ns: int | None = None,
        end_ns: int | None = None,
    ) -> ToldGaps:
        """What an answer tells of `gaps`."""
        told = self.coverage.told_gaps(names, revision, start_ns, end_ns)
        if self.quarantine.is_empty:
            return told
        return told.with_more(self.quarantine.gaps(names, revision, start_ns, end_ns))

    def load_clip(self, reading: Reading, clip_no: int, birth: int, parts: Parts) -> StoredClip:
        """`memdb.engine.hydrate.load_clip` of one that an answer holds."""
        if parts.short_memory:
            return load_clip(reading.txn, self.state, clip_no, birth, parts)
        clip = self.kept.find(clip_no, birth, parts)
        if clip is None:
            clip = load_clip(reading.txn, self.state, clip_no, birth, parts)
            self.kept.put(clip_no, birth, parts, clip, clip_bytes(clip))
        return clip

    @property
    def revision(self) -> int:
        """The commit this view shows."""
        return self.state.revision

    def text_space_no(self, as_of: int | None) -> int | None:
        """Number of the user's text space, None before it had one."""
        counters = self.state.counters
        return (
            None if self._moment(as_of) < counters.text_space_revision else counters.text_space_no
        )

    def stream_nos(
        self, names: tuple[str, ...] | None, as_of: int | None = None, field: str = "streams"
    ) -> tuple[int, ...] | None:
        """Numbers of the named streams, None for all; field: what the caller named them by.

        Raises `NotFound` (``STREAM_NOT_FOUND``) for one that does not exist, or did not ``as_of``.
        """
        if names is None:
            return None
        numbers: list[int] = []
        for name in names:
            stream = self.state.streams.get(name)
            if stream is None or stream.revision > self._moment(as_of):
                # Who asks about the past shall not look for a mistake in the name.
                what = (
                    "no such stream"
                    if stream is None
                    else "the stream was not there at that moment"
                )
                raise NotFound(what, reason="STREAM_NOT_FOUND", field=field, value=name)
            numbers.append(stream.no)
        return tuple(numbers)

    def searched_space(
        self,
        stream_nos: tuple[int, ...] | None,
        space: str | None,
        as_of: int | None = None,
        named: Space | None = None,
    ) -> int | None:
        """Number of the one space to search; None when the user had no stream yet, or none in the space.

        Only streams that existed ``as_of`` count: one that is created later, in another space, must
        not change what an earlier revision answers.  named: the database's space of that name; a user who
        has no stream in it, or had none then, has nothing there, which is an answer and no fault of the question.

        Raises `NotFound` (``SPACE_NOT_FOUND``) where there is no such space, `InvalidArgument`
        (``SPACE_REQUIRED``) when the streams span several, and `FailedPrecondition` (``SPACE_MISMATCH``) when
        streams are named and none of them is in the space: an answer would say that they had shown nothing like it.
        """
        there = [
            stream
            for stream in self.state.streams.values()
            if stream.revision <= self._moment(as_of)
        ]
        if space is not None:
            no = self.state.space_no(space)
            found = no is not None and any(stream.space_no == no for stream in there)
            if not found and named is None:
                raise NotFound(
                    "no such space",
                    reason="SPACE_NOT_FOUND",
                    field="space",
                    value=space,
                )
            if stream_nos is not None:
                self._check_any_in(no, numbered(there, stream_nos), space)
            return no if found else None
        wanted = {stream.space_no for stream in numbered(there, stream_nos)}
        if len(wanted) > 1:
            names = ", ".join(sorted(self.state.spaces[no].name for no in wanted))
            raise InvalidArgument(
                f"the streams span several spaces: {names}", reason="SPACE_REQUIRED", field="space"
            )
        return next(iter(wanted), None)

    def _check_any_in(self, space_no: int | None, named: list[StreamState], space: str) -> None:
        """Raises `FailedPrecondition` (``SPACE_MISMATCH``) where none of the streams is in the space."""
        if not named or any(stream.space_no == space_no for stream in named):
            return
        raise FailedPrecondition(
            f"stream {named[0].name} is in space {self.state.spaces[named[0].space_no].name}",
            reason="SPACE_MISMATCH",
            field="space",
            value=space,
        )

    def _moment(self, as_of: int | None) -> int:
        return self.revision if as_of is None else as_of
