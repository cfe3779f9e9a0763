"""Large users on the native edge's shelf: what it is given of them, and what it tells (`memdb.engine.listed`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import memdb_edge

from memdb.engine.listed import Listed
from memdb.types.clip import StoredClip
from memdb.v1 import grounding_service_pb2 as pb
from memdb.wire.clips import stored_clip_to_proto
from memdb.wire.streams import gap_to_proto

CLIP_BYTES_MAX: Final = 64 * 1024 * 1024
"""Of clips of large users' hits, of all users together; the oldest make room."""
PACKED_MAX: Final = 256
"""Clips that are laid ready at once: some milliseconds of the interpreter's lock."""


@dataclass(slots=True, eq=False)
class LentLists:
    """A large user that lies on the shelf."""

    listed: Listed
    clips: memdb_edge.Clips
    native: memdb_edge.Listed

    @property
    def is_current(self) -> bool:
        """Whether it still lies there, and is what questions use."""
        return self.native.is_there and self.listed.is_current

    def note_use(self) -> None:
        """Tell the user's index how many questions were answered, and how some of them were."""
        count, compared = self.native.take_asked(), self.native.take_samples()
        if count:
            self.listed.was_asked(count, compared)

    def fetch_missing(self) -> list[int]:
        """Lay ready the clips for want of which questions were left to Python, as far as it keeps them now; the rows
        of the others, which lists found and Python's answer has not.
        """
        others: list[int] = []
        for row in self.native.take_missing()[:PACKED_MAX]:
            clip = self.listed.clip(row)
            if clip is None:
                others.append(row)
            else:
                self.put_clip(row, clip)
        return others

    def put_clip(self, row: int, clip: StoredClip) -> None:
        """Lay a clip ready."""
        self.clips.put(row, stored_clip_to_proto(clip).SerializeToString(deterministic=True))


def lend_lists(native: memdb_edge.Shelf, room: memdb_edge.ClipRoom, listed: Listed) -> LentLists:
    """Put a user on the shelf; under the lock of its memory, so nothing of it is taken away meanwhile."""
    kept = listed.kept
    clips = kept.ready.get(listed.parts)
    if clips is None:
        # The next view has them too, unless something of the user is taken away.
        clips = kept.ready[listed.parts] = room.clips()
    partition, lists = listed.partition, listed.ready.lists
    matrix, nearby, basis, breadth = (
        partition.matrix,
        lists.nearby,
        lists.sketch.basis,
        listed.ready.breadth,
    )
    rows, coded, sketch = partition.rows, listed.coded, lists.sketch
    unbounded = sketch.unbounded
    tail = pb.GroundResponse(
        revision=listed.revision,
        fallback="none",
        gaps=map(gap_to_proto, listed.gaps),
        approximate=True,
    )
    placed = native.put_listed(
        user=listed.user,
        global_memory=listed.parts.global_memory,
        keyframes=listed.parts.keyframes,
        dim=partition.dim,
        width=matrix.width,
        rows=rows,
        chunks=[(chunk.head, chunk.tail) for chunk in matrix.chunks(rows)],
        norms=(matrix.norm_max, matrix.residual_max),
        alive=partition.head_alive,
        alive_share=listed.alive_share,
        nearby=(
            nearby.directions,
            nearby.direction_steps,
            basis.steps,
            basis.bound_step,
            nearby.centres,
            nearby.half_step,
        ),
        lists=(lists.offsets, lists.numbers, lists.codes),
        later=[
            (int(numbers[0]), codes) for codes, numbers in sketch.parts(matrix, lists.rows, coded)
        ],
        unbounded=unbounded[unbounded < coded].tolist(),
        breadth=(breadth.lists, breadth.candidates, breadth.by_distance),
        stream_no=partition.columns["stream_no"],
        streams=[
            (stream.no, stream.name, stream.null.mean, stream.spread, stream.things)
            for stream in listed.streams
        ],
        only=listed.only,
        clips=clips,
        tail=tail.SerializeToString(deterministic=True),
    )
    return LentLists(listed, clips, placed)
