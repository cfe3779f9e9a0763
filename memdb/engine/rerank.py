"""Late interaction of one question with the clips of one view: scores, and which frames matched.

Streams are gone through one after the other: their sample and their candidates are matched, the tokens
weighed by what the sample has of them, the candidates scored.  Rows of short-term memory are read once for
that, one clip at a time, and once more where the clip is a hit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from memdb import deadline
from memdb.codecs.scaled import scaled_rows
from memdb.engine.background import sampled_rows
from memdb.engine.hydrate import version_record
from memdb.engine.view import View
from memdb.errors import DataLoss, ResourceExhausted
from memdb.index.directions import unit_rows
from memdb.index.frame_rows import FrameRows
from memdb.index.late_interaction import (
    CLIP_WORK,
    best_cosines,
    frame_means,
    frame_scores,
    match_work,
)
from memdb.index.partition import PartitionView
from memdb.index.runs import best_runs
from memdb.index.token_weights import idf_weights, uniform_weights
from memdb.store import clips
from memdb.store.records import TensorRecord
from memdb.store.transaction import Transaction
from memdb.types.arrays import Array
from memdb.types.grounding import Span
from memdb.types.stream import Gap

_PAIRS_MAX: Final = 1 << 24
"""Cosines of tokens with clips that are held at once where work is bounded, 64 MiB."""


@dataclass(frozen=True, slots=True)
class Scored:
    """A clip by its row; no score where it has no short-term memory."""

    row: int
    score: float | None


@dataclass(frozen=True, slots=True)
class _Memory:
    """A clip's short-term memory, not read yet."""

    tensor: TensorRecord
    frames: FrameRows


@dataclass(frozen=True, slots=True, eq=False)
class _Learned:
    """What a stream makes of the question."""

    weights: Array
    told: tuple[float, ...]
    """The weights, one value for all hits of the stream."""
    usual: float
    """Score of a frame of its sample, in the mean."""
    usual_clip: float
    """Score of a clip of its sample, in the mean."""


class LateInteraction:
    """One question's tokens against one view."""

    def __init__(
        self,
        txn: Transaction,
        view: View,
        partition: PartitionView,
        as_of: int | None,
        tokens: Array,
        weighting: str,
        damaged: list[Gap],
    ) -> None:
        """tokens: (n, dim).  weighting: of `WEIGHTINGS`.  damaged: takes what cannot be read."""
        self._txn = txn
        self._view = view
        self._partition = partition
        self._as_of = as_of
        self._questions = unit_rows(tokens)
        self._weighting = weighting
        self._damaged = damaged
        self._asked: set[int] = set()
        self._lost: set[int] = set()
        self._memories: dict[int, _Memory | None] = {}
        self._learned: dict[int, _Learned] = {}

    def rank(self, rows: Array, work_max: int | None, field: str, value: object) -> list[Scored]:
        """The clips of some rows, best first; equal scores in the order given, clips without short-term
        memory last.

        Raises `ResourceExhausted` (``TOO_MUCH_WORK``) naming ``field`` before anything large is read,
        where it would take more than ``work_max`` multiplications, and `DeadlineExceeded`
        (``CALLER_LEFT``) once nobody waits for it.
        """
        if work_max is not None and len(rows) * CLIP_WORK > work_max:
            raise _too_much_work(field, value)
        self._asked.update(rows.tolist())
        listed = [row for row in rows.tolist() if self._described(row)]
        by_stream: dict[int, list[int]] = {}
        for row in listed:
            if self._memories[row] is not None:
                by_stream.setdefault(self._stream_of(row), []).append(row)
        samples = {
            stream_no: [row for row in sampled.tolist() if self._described(row)]
            for stream_no, sampled in sampled_rows(
                self._partition, tuple(sorted(by_stream)), self._as_of
            ).items()
        }
        if work_max is not None and self._work() > work_max:
            raise _too_much_work(field, value)
        scores: dict[int, float] = {}
        for stream_no, members in by_stream.items():
            scores |= self._stream_scores(stream_no, members, samples[stream_no])
        ranked = [Scored(row, scores.get(row)) for row in listed if row not in self._lost]
        return sorted(ranked, key=lambda scored: np.inf if scored.score is None else -scored.score)

    def spans(self, row: int) -> tuple[Span, ...]:
        """The stretches of a ranked clip that matched, best first."""
        memory = self._memories[row]
        read = None if memory is None else self._read(row)
        if memory is None or read is None:
            return ()
        learned = self._learned[self._stream_of(row)]
        starts = memory.frames.starts()
        scores = frame_scores(self._questions, learned.weights, read, starts)
        column = self._partition.columns
        start_ns, end_ns = int(column["start_ns"][row]), int(column["end_ns"][row])
        length, steps = end_ns - start_ns, len(starts)
        spans: list[Span] = []
        # By less than cosines of random directions vary, nothing is clear.
        for run in best_runs(scores, learned.usual, 1 / math.sqrt(read.shape[1])):
            first_frame, last_frame = memory.frames.frames(run.first, run.last) or (None, None)
            begin = start_ns + length * run.first // steps
            end = start_ns + length * (run.last + 1) // steps
            spans.append(Span(begin, end, run.score, first_frame, last_frame))
        return tuple(spans)

    def token_weights(self, row: int) -> tuple[float, ...]:
        """What each token weighed where a ranked clip was scored, nothing where it was not."""
        if self._memories[row] is None:
            return ()
        return self._learned[self._stream_of(row)].told

    def usual(self, row: int) -> float:
        """What the sample of a scored clip's stream scores in the mean."""
        return self._learned[self._stream_of(row)].usual_clip

    def _stream_scores(
        self, stream_no: int, members: list[int], sample: list[int]
    ) -> dict[int, float]:
        best: dict[int, Array] = {}
        means: list[Array] = []
        top = np.full(len(self._questions), -1, np.float32)
        # Of a sample that is all damaged the candidates take the place.
        sample = [row for row in sample if row not in self._lost] or members
        sampled = frozenset(sample)
        for row in dict.fromkeys((*sample, *members)):
            memory, read = self._memories[row], self._read(row)
            if memory is None or read is None:
                continue
            # Those of a sample that proves damaged now are as if that had been known: no others for some of them.
            learned = row in sampled or sampled.isdisjoint(best)
            best[row] = best_cosines(self._questions, read)
            np.maximum(top, best[row], out=top)
            if learned:
                means.append(frame_means(self._questions, read, memory.frames.starts()))
        if not best:
            return {}
        seen = np.stack([best[row] for row in sample if row in best] or list(best.values()))
        weights = uniform_weights(len(self._questions))
        if self._weighting == "idf":
            weights = idf_weights(seen, top)
        usual = float(np.mean(means, axis=0) @ weights)
        usual_clip = float(seen.mean(axis=0) @ weights)
        self._learned[stream_no] = _Learned(weights, tuple(weights.tolist()), usual, usual_clip)
        return {row: float(best[row] @ weights) for row in members if row in best}

    def _stream_of(self, row: int) -> int:
        return int(self._partition.columns["stream_no"][row])

    def _described(self, row: int) -> bool:
        """Whether what a clip has can be told."""
        if row in self._memories:
            return row not in self._lost
        deadline.check()
        column = self._partition.columns
        version = int(column["clip_no"][row]), int(column["birth"][row])
        if version in self._view.quarantine.versions:
            # Known, and told by the gaps: it is not noted again.
            self._lost.add(row)
            self._memories[row] = None
            return False
        try:
            record = version_record(self._txn, self._view.state, *version)
        except DataLoss as error:
            self._lose(row, error)
            return False
        tensor = record.short_memory
        self._memories[row] = (
            None
            if tensor is None
            else _Memory(tensor, FrameRows(tensor.rows, record.frames_per_token_row))
        )
        return True

    def _read(self, row: int) -> Array | None:
        """(rows, dim) float32 of a clip, None where it is damaged."""
        deadline.check()
        memory = self._memories[row]
        if memory is None or row in self._lost:
            return None
        column = self._partition.columns
        clip_no, birth = int(column["clip_no"][row]), int(column["birth"][row])
        try:
            return scaled_rows(clips.described_tensor(self._txn, clip_no, birth, memory.tensor))
        except DataLoss as error:
            self._lose(row, error)
            return None

    def _lose(self, row: int, error: DataLoss) -> None:
        self._lost.add(row)
        self._memories[row] = None
        gap = self._view.note_damage(self._partition, row, error)
        # A clip that is merely of the sample may lie outside what was asked about.
        if row in self._asked:
            self._damaged.append(gap)

    def _work(self) -> float:
        tokens = len(self._questions)
        there = [memory.tensor for memory in self._memories.values() if memory is not None]
        if tokens * len(there) > _PAIRS_MAX:
            return math.inf
        return sum(match_work(tokens, (tensor.rows, tensor.dim)) for tensor in there)


def _too_much_work(field: str, value: object) -> ResourceExhausted:
    return ResourceExhausted(
        "so many question tokens with so much short-term memory take too long; compare fewer clips",
        reason="TOO_MUCH_WORK",
        field=field,
        value=value,
    )
