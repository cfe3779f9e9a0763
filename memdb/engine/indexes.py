"""What of an open user is in memory to be searched, and how a commit moves it forward.

An opening makes it from the store (`memdb.engine.rebuild`, `memdb.engine.text_rows`); after every commit it equals what
an opening would make.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

import numpy as np

from memdb.engine.coverage import Coverage
from memdb.engine.effects import Effects, NewClip, NewRows
from memdb.engine.state import UserState
from memdb.index.columns import ALIVE
from memdb.index.directions import prepared_rows
from memdb.index.names import NAMELESS
from memdb.index.partition import ClipRows, Partition
from memdb.index.text import Document, TextIndex
from memdb.store import schema
from memdb.store.rows import HEAD, packed_row
from memdb.types.arrays import Array


@dataclass(slots=True)
class Indexes:
    """The indexes of one user; changed by one thread at a time."""

    partitions: dict[int, Partition]
    """By space number."""
    coverage: Coverage
    texts: TextIndex

    def advance(self, effects: Effects, state: UserState) -> None:
        """Move to the commit of ``effects``, which made ``state``."""
        revision = state.revision
        clips, plain = effects.clips, effects.rows
        if plain and (clips or sum(rows.count for rows in plain) == 1):
            # In the order of all numbers; and one row is sooner added without an array for each of its columns.
            clips, plain = [*clips, *(clip for rows in plain for clip in rows.clips())], []
        self._add_plain(plain, state)
        by_space: dict[int, list[NewClip]] = {}
        documents: list[Document] = []
        moved: dict[tuple[int, int], int] = {}
        for clip in sorted(clips, key=lambda clip: clip.clip_no):
            by_space.setdefault(clip.space_no, []).append(clip)
            stream_no, epoch_no, seq, start_ns, end_ns, sealed, *_ = clip.row
            epoch = self.coverage.epoch(stream_no, epoch_no)
            came = epoch.arrive if clip.first_version else epoch.grow
            came(seq, start_ns, end_ns, revision)
            if epoch.begin(start_ns, self._began_ns(clip)):
                moved[stream_no, epoch_no] = clip.space_no
            if sealed:
                epoch.seal(seq, end_ns)
            if not clip.first_version:
                self.texts.end(schema.UTTERANCE, clip.clip_no, revision)
            documents.extend(clip.documents)
        for space_no, its_clips in by_space.items():
            partition, is_cosine = self._partition(space_no, state)
            if len(its_clips) == 1:
                _add(partition, its_clips[0], revision, cosine=is_cosine)
            else:
                partition.extend(_rows(its_clips, revision, cosine=is_cosine))
            partition.name([clip.names for clip in its_clips])
        for (stream_no, epoch_no), space_no in moved.items():
            first_ns = self.partitions[space_no].first_start_ns(stream_no, epoch_no)
            self.coverage.epoch(stream_no, epoch_no).begin_anew(first_ns)
        # In the order in which a rebuild meets them: it decides between equal scores.
        for fact in sorted(effects.facts, key=lambda fact: fact.fact_no):
            self.texts.end(schema.FACT, fact.fact_no, revision)
            documents.append(fact.document)
        self.texts.add(documents)
        for gone in effects.forgotten:
            self.texts.forget(gone.fact_no, gone.texts, gone.about)
        self._take_away(effects)

    def _partition(self, space_no: int, state: UserState) -> tuple[Partition, bool]:
        """A space's, made where it is the first that comes there; whether it is one of cosines."""
        partition, space = self.partitions.get(space_no), state.spaces[space_no]
        if partition is None:
            partition = self.partitions[space_no] = Partition(space.dim, space.metric)
        return partition, space.metric == "cosine"

    def _add_plain(self, plain: list[NewRows], state: UserState) -> None:
        """`advance` by clips of which all are plain."""
        by_space: dict[int, list[NewRows]] = {}
        for rows in plain:
            by_space.setdefault(rows.space_no, []).append(rows)
        for space_no, its_rows in by_space.items():
            partition, is_cosine = self._partition(space_no, state)
            dim = state.spaces[space_no].dim
            packed = b"".join([rows.stored.rows for rows in its_rows])
            self.coverage.arrive(packed, state.revision)
            added = _clip_rows(its_rows, packed, dim, state.revision, cosine=is_cosine)
            partition.extend(added)
            partition.name([NAMELESS] * len(added.clip_no))

    def _began_ns(self, clip: NewClip) -> int | None:
        """Where an open clip began in the version before."""
        partition = None if clip.first_version else self.partitions.get(clip.space_no)
        return None if partition is None else partition.open_start_ns(clip.clip_no)

    def _take_away(self, effects: Effects) -> None:
        """Make the indexes forget what a commit removed."""
        by_space: dict[int, list[int]] = {}
        numbers: dict[tuple[int, int], dict[int, tuple[int | None, int | None]]] = {}
        for clip in effects.removed:
            by_space.setdefault(clip.space_no, []).append(clip.clip_no)
            if clip.number is not None:
                stream_no, epoch_no, seq = clip.number
                numbers.setdefault((stream_no, epoch_no), {})[seq] = clip.times
        for (stream_no, epoch_no), times in numbers.items():
            epoch = self.coverage.find(stream_no, epoch_no)
            if epoch is not None:
                epoch.settle(times)
        for space_no, clip_nos in by_space.items():
            if space_no in self.partitions:  # not where all that it had is damaged
                self.partitions[space_no].remove(np.array(clip_nos, np.uint64))
            self.texts.drop(schema.UTTERANCE, clip_nos)
        # A look at all rows for each kind, not for each clip.
        lighter: dict[tuple[int, str], list[int]] = {}
        for thinned in effects.thinned:
            if thinned.short_memory:
                lighter.setdefault((thinned.space_no, "short_memory_bytes"), []).append(
                    thinned.clip_no
                )
            if thinned.keyframes:
                lighter.setdefault((thinned.space_no, "keyframe_bytes"), []).append(thinned.clip_no)
        for (space_no, column), clip_nos in lighter.items():
            self.partitions[space_no].thin(np.array(clip_nos, np.uint64), column)
        for space_no, partition in self.partitions.items():
            versions = {
                (no, birth, death)
                for space, no, birth, death in effects.collected
                if space == space_no
            }
            if versions:
                partition.remove_versions(versions)
                self.texts.drop_versions(schema.UTTERANCE, versions)
        for stream_no in effects.removed_streams:
            self.coverage.drop(stream_no)


def touches_texts(effects: Effects) -> bool:
    """Whether a commit changes what is found by words."""
    return bool(effects.facts or effects.forgotten or effects.removed or effects.collected) or any(
        clip.documents or not clip.first_version for clip in effects.clips
    )


def _add(partition: Partition, clip: NewClip, revision: int, *, cosine: bool) -> None:
    stream_no, epoch, seq, start_ns, end_ns, sealed, short_memory_bytes, keyframe_bytes = clip.row
    partition.add(
        clip_no=clip.clip_no,
        stream_no=stream_no,
        epoch=epoch,
        seq=seq,
        start_ns=start_ns,
        end_ns=end_ns,
        sealed=sealed,
        birth=revision,
        short_memory_bytes=short_memory_bytes,
        keyframe_bytes=keyframe_bytes,
        vector=prepared_rows([clip.vector], cosine=cosine)[0],
        content=clip.content,
    )


def _clip_rows(
    plain: list[NewRows], packed: bytes, dim: int, revision: int, *, cosine: bool
) -> ClipRows:
    """packed: of all of them."""
    vectors = [
        prepared_rows(
            np.frombuffer(b"".join([rows.stored.vectors for rows in alike]), dtype).reshape(
                -1, dim
            ),
            cosine=cosine,
        )
        for dtype, alike in groupby(plain, attrgetter("dtype"))
    ]
    return _current(
        packed,
        [no for rows in plain for no in range(rows.first_no, rows.first_no + rows.count)],
        revision,
        vectors[0] if len(vectors) == 1 else np.concatenate(vectors),
        np.frombuffer(b"".join([rows.stored.contents for rows in plain]), np.uint64),
    )


def _rows(clips: list[NewClip], revision: int, *, cosine: bool) -> ClipRows:
    return _current(
        # As they are stored: numpy takes twice as long to make an array of so many tuples.
        b"".join([packed_row(clip.row) for clip in clips]),
        [clip.clip_no for clip in clips],
        revision,
        prepared_rows([clip.vector for clip in clips], cosine=cosine),
        np.array([clip.content for clip in clips], np.uint64),
    )


def _current(
    packed: bytes, clip_nos: list[int], revision: int, vectors: Array, content: Array
) -> ClipRows:
    """Versions of a commit; packed: of each a `memdb.store.rows.HEAD`."""
    fields = np.frombuffer(packed, HEAD)
    count = len(fields)
    return ClipRows(
        clip_no=np.array(clip_nos, np.uint64),
        stream_no=fields["stream_no"],
        epoch=fields["epoch"],
        seq=fields["seq"],
        start_ns=fields["start_ns"],
        end_ns=fields["end_ns"],
        sealed=fields["sealed"],
        birth=np.full(count, revision, np.uint64),
        death=np.full(count, ALIVE, np.uint64),
        short_memory_bytes=fields["short_memory_bytes"],
        keyframe_bytes=fields["keyframe_bytes"],
        vectors=vectors,
        content=content,
    )
