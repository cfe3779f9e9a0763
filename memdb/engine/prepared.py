"""What a user of few clips is, laid ready for who answers plain questions without Python (`Shelf`); of large ones see
`memdb.engine.listed`.

Of one view, and taken back before there is another (`UserMemory.lend`): what answers by it answers as
`memdb.engine.grounding` would at that moment.  Prepared in the background, of users that are asked again and again
between two commits.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from memdb.engine.hydrate import ClipGone, Parts, clip_bytes, load_clip
from memdb.engine.listed import Listed, listed_of
from memdb.engine.native import arithmetic
from memdb.engine.nulls import Nulls
from memdb.engine.relevance import spread_of, things_of
from memdb.errors import DataLoss, NotFound, Unavailable
from memdb.index.row_codes import RowCodes
from memdb.types.arrays import Array
from memdb.types.clip import StoredClip

if TYPE_CHECKING:
    from memdb.engine.memory import UserMemory
    from memdb.engine.users import Users
    from memdb.engine.view import View

STREAMS_MAX: Final = 16
CLIP_BYTES_MAX: Final = 2 * 1024 * 1024
"""Of all clips of a user, with the parts that hits come with."""


@dataclass(frozen=True, slots=True, eq=False)
class PreparedStream:
    """A camera."""

    name: str
    mean: Array | None
    """`memdb.engine.nulls.Null.mean`; None where the stream has no clip."""
    spread: float
    things: float


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A user in a space of cosines, as of one view, without gaps or damage."""

    user: str
    revision: int
    parts: Parts
    """What the clips were read with."""
    dim: int
    whole: Array
    """(rows, width) float32, `memdb.index.matrix.Matrix.whole`."""
    codes: RowCodes | None
    """Of these, if there are any."""
    start_ns: Array
    """(rows,) int64."""
    end_ns: Array
    """(rows,) int64."""
    alive: Array
    """(rows,) bool."""
    stream: Array
    """(rows,) uint32, place among ``streams``."""
    streams: tuple[PreparedStream, ...]
    clips: list[StoredClip | None]
    """(rows,) None where a row is not alive."""


class Shelf(Protocol):
    """Answers questions by what it was given."""

    def packed(self, prepared: Prepared) -> list[bytes]:
        """The clips as they are sent."""

    def put(self, prepared: Prepared, clips: list[bytes]) -> Callable[[], None]:
        """Take it, with its clips from `packed`; the function that takes all of the user back: once that has returned,
        nothing is answered by it.
        """

    def put_listed(self, listed: Listed) -> Callable[[], None]:
        """The same of a large user."""


@dataclass(frozen=True, slots=True)
class Preparation:
    """A chore of `memdb.engine.upkeep`: lay a user ready."""

    users: Users = field(compare=False)
    user: str
    parts: Parts
    shelf: Shelf = field(compare=False)

    def maintain(
        self, stop: Callable[[], bool], gpu: Any = None, approximation: Any = None
    ) -> None:
        """See `memdb.engine.upkeep.Chore`."""
        # Closed or erased meanwhile: then nobody needs it, and nobody else is closed to make room for it.
        if not self.users.is_open(self.user):
            return
        with suppress(NotFound, Unavailable), self.users.use(self.user) as memory:
            view = memory.view
            prepared = _prepared(memory, view, self.parts)
            listed = listed_of(view, self.parts) if prepared is None else None
            if stop():
                return
            if prepared is not None:
                # Before: while something is lent, no commit is shown.
                clips = self.shelf.packed(prepared)
                memory.lend(view, self.shelf, lambda: self.shelf.put(prepared, clips))
            elif listed is not None:
                memory.lend(view, self.shelf, lambda: self.shelf.put_listed(listed))

    def put_off(self) -> None:
        """See `memdb.engine.upkeep.Chore`: whoever asks more brings it again."""


def _prepared(memory: UserMemory, view: View, parts: Parts) -> Prepared | None:
    """None for a user that is not answered that way."""
    state = view.state
    spaces = {stream.space_no for stream in state.streams.values()}
    if len(spaces) != 1 or len(state.streams) > STREAMS_MAX or not view.quarantine.is_empty:
        return None
    (space_no,) = spaces
    partition = view.partitions.get(space_no)
    if partition is None or not partition.cosine:
        return None
    rows = partition.rows
    whole = partition.matrix.whole(rows)
    names = {stream.no: stream.name for stream in state.streams.values()}
    if not rows or whole is None or view.told_gaps(names, view.revision).gaps:
        return None
    alive = np.ones(rows, bool) if partition.head_alive is None else partition.head_alive
    columns = partition.columns
    clips = _clips(memory, view, columns, alive, parts)
    if clips is None:
        return None
    known = arithmetic()
    numbers = columns["stream_no"]
    there = sorted(set(numbers[alive].tolist()))
    nulls = dict(zip(there, Nulls(partition, None).of(there), strict=True))
    places = {no: place for place, no in enumerate(names)}
    # A stream of which every clip was taken away is there no more; its rows are not alive.
    stream = np.array([places.get(no, 0) for no in numbers.tolist()], np.uint32)
    streams = tuple(
        PreparedStream(name, None, 1.0, 1.0)
        if no not in nulls
        else PreparedStream(
            name, nulls[no].mean, spread_of(nulls[no], partition.dim), things_of(nulls[no])
        )
        for no, name in names.items()
    )
    return Prepared(
        state.user,
        view.revision,
        parts,
        partition.dim,
        whole,
        None if known is None else known.codes(partition.matrix, rows, int(alive.sum())),
        columns["start_ns"],
        columns["end_ns"],
        alive,
        stream,
        streams,
        clips,
    )


def _clips(
    memory: UserMemory, view: View, columns: dict[str, Array], alive: Array, parts: Parts
) -> list[StoredClip | None] | None:
    """The clip of each row; None where they are too large together, or one cannot be read."""
    clips: list[StoredClip | None] = []
    size = 0
    numbers = columns["clip_no"].tolist(), columns["birth"].tolist(), alive.tolist()
    with memory.environment.read() as txn:
        for clip_no, birth, is_alive in zip(*numbers, strict=True):
            if not is_alive:
                clips.append(None)
                continue
            clip = view.kept.find(clip_no, birth, parts)
            if clip is None:
                try:
                    clip = load_clip(txn, view.state, clip_no, birth, parts)
                except (ClipGone, DataLoss):
                    return None  # a question that meets it says so
            size += clip_bytes(clip)
            if size > CLIP_BYTES_MAX:
                return None
            clips.append(clip)
    return clips
