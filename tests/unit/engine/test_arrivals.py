"""The coverage that an opening makes is the one that grew clip by clip."""

from __future__ import annotations

import random

import numpy as np
import pytest

from memdb.engine import arrivals
from memdb.engine.arrivals import Arrivals, Came, coverage_of
from memdb.engine.coverage import Coverage


def lives(seed: int) -> tuple[list[Came], list[Came]]:
    """What came of some epochs, most of them in turn, and of these what is in no space any more."""
    chosen = random.Random(seed)
    came: list[Came] = []
    removed: list[Came] = []
    clip_no = 0
    for epoch in range(6):
        seqs = list(range(chosen.randrange(1, 90)))
        if chosen.random() < 0.4:
            chosen.shuffle(seqs)
        if chosen.random() < 0.3:
            seqs = [seq for seq in seqs if chosen.random() < 0.8] or [0]
        takes_away = chosen.random() < 0.2
        for seq in seqs:
            versions = chosen.choice((1, 1, 1, 3))
            sealed = chosen.random() < 0.95
            birth = clip_no // 3 + 1
            for version in range(versions):
                is_last = version == versions - 1
                start_ns = 100 * seq + (7 * version if seq % 3 else -11 * version)
                end_ns = 100 * seq + 30 * (version + 1)
                one = (
                    birth + version,
                    clip_no,
                    version == 0,
                    (epoch % 2, epoch, seq, start_ns, end_ns, sealed and is_last),
                )
                (removed if takes_away and seq % 5 == 0 and versions == 1 else came).append(one)
            clip_no += 1
    return came, removed


def as_columns(came: list[Came]) -> Arrivals:
    birth, clip_no, first, fields = zip(*came, strict=True)
    columns = zip(Arrivals.FIELDS, zip(*fields, strict=True), strict=True)
    dtypes = (np.uint32, np.uint32, np.uint64, np.int64, np.int64, np.bool_)
    return Arrivals(
        np.array(birth, np.uint64),
        np.array(clip_no, np.uint64),
        np.array(first, np.bool_),
        {
            name: np.array(column, dtype)
            for (name, column), dtype in zip(columns, dtypes, strict=True)
        },
    )


@pytest.mark.parametrize("seed", range(60))
def test_epochs_taken_in_at_once_are_as_those_that_grew(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    came, removed = lives(seed)
    random.Random(seed).shuffle(came)
    taken: list[bool] = []
    real = arrivals._taken_at_once

    def noted(*arguments: object) -> bool:
        taken.append(real(*arguments))  # type: ignore[arg-type]
        return taken[-1]

    monkeypatch.setattr(arrivals, "_taken_at_once", noted)
    quick = coverage_of([as_columns(came)], removed, is_damaged=False)
    grown = Coverage()
    starts = {}
    for birth, _, first, fields in sorted([*came, *removed], key=lambda one: one[:2]):
        stream_no, number, seq, start_ns, end_ns, sealed = fields
        epoch = grown.epoch(stream_no, number)
        (epoch.arrive if first else epoch.grow)(seq, start_ns, end_ns, birth)
        if sealed:
            epoch.seal(seq, end_ns)
        starts[stream_no, number, seq] = start_ns
    for (stream_no, number, _), start_ns in starts.items():
        grown.epoch(stream_no, number).begin(start_ns)
    for _, _, _, (stream_no, number, _, start_ns, _, _) in removed:
        grown.epoch(stream_no, number).give_up(start_ns)
    assert quick._epochs == grown._epochs
    assert any(taken) or seed, "some came in turn"
