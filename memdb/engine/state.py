"""The small state of a user that decides how operations apply: counters, spaces and streams.

Writers work on a `Draft`, a copy that becomes the state only after its commit returned, so a failed
commit leaves no trace in memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

from memdb.store.idents import IdKind, make_id
from memdb.store.records import CountersRecord, StandingCountRecord
from memdb.store.schema import FORMAT
from memdb.types.retention import Retention
from memdb.types.space import Space
from memdb.types.stream import StreamInfo


@dataclass(frozen=True, slots=True)
class StreamState:
    """A stream as the engine knows it."""

    no: int
    name: str
    space_no: int
    revision: int
    zone: str


@dataclass(frozen=True)
class UserState:
    """Who the user is and what was handed out, as of one commit."""

    user: str
    id_key: bytes
    counters: CountersRecord
    spaces: dict[int, Space] = field(default_factory=dict)
    streams: dict[str, StreamState] = field(default_factory=dict)
    retention: dict[int, Retention] = field(default_factory=dict)
    """By stream number."""
    sweep_ns: int | None = None
    """How far the clock of retention has come."""
    collected: tuple[tuple[int, int], ...] = ()
    """Revisions [first, end) that can no more be told exactly."""
    standing: StandingCountRecord = field(default_factory=StandingCountRecord)
    format: int = FORMAT
    """Of what is stored; each commit leaves it in that of this release (`memdb.store.renewal`)."""

    @property
    def revision(self) -> int:
        """The newest commit."""
        return self.counters.revision

    @property
    def text_space(self) -> Space | None:
        """The user's text space."""
        no = self.counters.text_space_no
        return None if no is None else self.spaces[no]

    def space_no(self, name: str) -> int | None:
        """Number of the user's space of that name."""
        return next((no for no, space in self.spaces.items() if space.name == name), None)

    def stream_info(self, name: str) -> StreamInfo:
        """What callers see of a stream."""
        stream = self.streams[name]
        return StreamInfo(
            stream.name,
            self.spaces[stream.space_no].name,
            stream.revision,
            make_id(self.id_key, IdKind.STREAM, stream.no),
            stream.zone,
        )

    @cached_property
    def stream_names(self) -> dict[int, str]:
        """Number -> name of every stream."""
        return {stream.no: stream.name for stream in self.streams.values()}


def numbered(streams: Iterable[StreamState], numbers: Iterable[int] | None) -> list[StreamState]:
    """Those of some numbers, None for all; a question may name a thousand of ten thousand."""
    if numbers is None:
        return list(streams)
    wanted = frozenset(numbers)
    return [stream for stream in streams if stream.no in wanted]


class Draft:
    """The state that a commit would leave."""

    def __init__(self, state: UserState, time_ns: int) -> None:
        self.user = state.user
        self.id_key = state.id_key
        self.revision = state.counters.revision + 1
        # Commit times always go forward, also when the clock does not, in whole microseconds as
        # datetimes have: a time names one revision.
        self.time_ns = max(time_ns - time_ns % 1000, state.counters.time_ns + 1000)
        self.spaces = dict(state.spaces)
        self.streams = dict(state.streams)
        self.next_space_no = state.counters.next_space_no
        self.next_stream_no = state.counters.next_stream_no
        self.next_clip_no = state.counters.next_clip_no
        self.next_fact_no = state.counters.next_fact_no
        self.text_space_no = state.counters.text_space_no
        self.removed_streams = state.counters.removed_streams
        self.removed_numbers = state.counters.removed_numbers
        self.stones = state.counters.stones
        self.text_space_revision = state.counters.text_space_revision
        self.retention = dict(state.retention)
        self.sweep_ns = state.sweep_ns
        self.collected = state.collected
        self.standing = state.standing

    def counters(self) -> CountersRecord:
        """What the commit writes under `meta/counters`."""
        return CountersRecord(
            self.revision,
            self.time_ns,
            self.next_space_no,
            self.next_stream_no,
            self.next_clip_no,
            self.next_fact_no,
            self.text_space_no,
            self.removed_streams,
            self.removed_numbers,
            self.stones,
            self.text_space_revision,
        )

    def state(self) -> UserState:
        """The state after the commit."""
        return UserState(
            self.user,
            self.id_key,
            self.counters(),
            self.spaces,
            self.streams,
            self.retention,
            self.sweep_ns,
            self.collected,
            self.standing,
        )
