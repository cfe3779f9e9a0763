"""What a large user is, laid ready for who answers plain questions by lists without Python (`memdb.engine.prepared`).

Nothing that grows with the user is copied: rows, codes and lists are the arrays that Python's own search reads
(`memdb.index.ivf`).  Hits' clips cannot all lie ready; those that answers of this user held lately do, and a
question that has another is Python's, which then has the clip.

Lists change without a new view, when they are made anew or were found to tell too little; who holds what is here looks
now and then whether it is what questions use (`Listed.is_current`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from memdb.engine.clip_cache import KeptClips
from memdb.engine.footage import searched_streams
from memdb.engine.hydrate import ClipGone, Parts, load_clip
from memdb.engine.nulls import Null, Nulls
from memdb.engine.relevance import spread_of, things_of
from memdb.errors import DataLoss, NotFound, Unavailable
from memdb.index import ivf
from memdb.index.indexed import Ready
from memdb.index.partition import PartitionView
from memdb.index.recall import Sample
from memdb.index.tiers import LATE_ROWS
from memdb.types.arrays import Array
from memdb.types.clip import StoredClip
from memdb.types.stream import Gap

if TYPE_CHECKING:
    from memdb.engine.users import Users
    from memdb.engine.view import View

STREAMS_MAX: Final = 64
GAPS_MAX: Final = 64
"""Of which every answer tells."""


@dataclass(frozen=True, slots=True, eq=False)
class ListedStream:
    """A camera that has clips."""

    no: int
    name: str
    null: Null
    spread: float
    things: float


@dataclass(frozen=True, slots=True, eq=False)
class Listed:
    """A user in a space of cosines, as of one view, without damage, of which lists answer."""

    user: str
    revision: int
    parts: Parts
    """What the clips are read with."""
    partition: PartitionView
    ready: Ready
    """What its questions use."""
    coded: int
    """So many of its rows have codes."""
    alive_share: float
    """Of its rows."""
    streams: tuple[ListedStream, ...]
    """In the order of their numbers."""
    only: str
    """The user's one camera, which is no filter when it is named; empty where there are more."""
    gaps: tuple[Gap, ...]
    """What every answer tells to be missing."""
    kept: KeptClips

    @property
    def is_current(self) -> bool:
        """Whether questions to its view still use what is here; else it is to be laid ready anew."""
        partition, sketch = self.partition, self.ready.lists.sketch
        if partition.tiers.ready(partition.rows) is not self.ready:
            return False
        # Rows without codes are read whole for each question.
        return min(sketch.rows, partition.rows) - self.coded < LATE_ROWS

    def was_asked(self, count: int, compared: Sequence[tuple[Array, Array]]) -> None:
        """So many questions were answered by it; the features of some, as they were asked, with the scores of their
        hits, to be compared with exact answers.
        """
        partition = self.partition
        samples = [
            Sample(
                partition.rows, partition.unit(feature), len(scores), partition.head_alive, scores
            )
            for feature, scores in compared
        ]
        partition.tiers.was_asked(count, samples)

    def version(self, row: int) -> tuple[int, int]:
        """Number and birth of the clip of a row."""
        columns = self.partition.columns
        return int(columns["clip_no"][row]), int(columns["birth"][row])

    def clip(self, row: int) -> StoredClip | None:
        """The clip of a row, where it is kept."""
        return self.kept.find(*self.version(row), self.parts)


@dataclass(frozen=True, slots=True)
class ClipFetch:
    """A chore of `memdb.engine.upkeep`: read clips of a large user that nobody keeps.

    One at a time of what lies ready: of more that are wanted meanwhile the rows are told again by who asks again.
    """

    users: Users = field(compare=False)
    listed: Listed
    rows: Sequence[int] = field(compare=False)
    give: Callable[[int, StoredClip], None] = field(compare=False)

    def maintain(
        self, stop: Callable[[], bool], gpu: Any = None, approximation: Any = None
    ) -> None:
        """See `memdb.engine.upkeep.Chore`."""
        listed = self.listed
        # Closed or erased meanwhile, or something of it taken away: then nobody needs them.
        if not self.users.is_open(listed.user):
            return
        with suppress(NotFound, Unavailable, ClipGone), self.users.use(listed.user) as memory:
            view = memory.view
            if view.kept is not listed.kept:
                return
            with memory.environment.read() as txn:
                for row in self.rows:
                    if stop():
                        return
                    try:
                        clip = load_clip(txn, view.state, *listed.version(row), listed.parts)
                    except DataLoss:
                        continue  # a question that meets it says so
                    self.give(row, clip)

    def put_off(self) -> None:
        """See `memdb.engine.upkeep.Chore`: whoever asks for them again brings it again."""


def listed_of(view: View, parts: Parts) -> Listed | None:
    """None for a user that is not answered that way."""
    state = view.state
    spaces = {stream.space_no for stream in state.streams.values()}
    if len(spaces) != 1 or len(state.streams) > STREAMS_MAX or not view.quarantine.is_empty:
        return None
    (space_no,) = spaces
    partition = view.partitions.get(space_no)
    if partition is None or not partition.cosine:
        return None
    rows, alive = partition.rows, partition.head_alive
    ready = partition.tiers.ready(rows)
    # Lists of a newer view than ours: that is laid ready when it is asked.
    if ready is None or ready.lists.rows > rows:
        return None
    coded = min(rows, ready.lists.sketch.rows)
    count = rows if alive is None else int(np.count_nonzero(alive))
    if rows - coded > ivf.UNCODED_MAX or count < ivf.ALLOWED_MIN:
        return None
    names = {
        stream.no: stream.name for stream in searched_streams(state, None, space_no, view.revision)
    }
    told = view.told_gaps(names, view.revision)
    if len(told.gaps) > GAPS_MAX:
        return None
    return Listed(
        state.user,
        view.revision,
        parts,
        partition,
        ready,
        coded,
        count / rows,
        _streams(partition, names),
        next(iter(names.values())) if len(names) == 1 else "",
        told.gaps,
        view.kept,
    )


def _streams(partition: PartitionView, names: dict[int, str]) -> tuple[ListedStream, ...]:
    """Those that have clips."""
    numbers, alive = partition.columns["stream_no"], partition.head_alive
    counts = np.bincount(numbers if alive is None else numbers[alive])
    there = [no for no in sorted(names) if no < len(counts) and counts[no]]
    nulls = Nulls(partition, None).of(there)
    return tuple(
        ListedStream(no, names[no], null, spread_of(null, partition.dim), things_of(null))
        for no, null in zip(there, nulls, strict=True)
    )
