"""Clips that arrive together, as many at once as follow each other, leave what each leaves by itself."""

from __future__ import annotations

import random
from dataclasses import astuple
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memdb.engine.coverage import Coverage, EpochCoverage
from memdb.native import is_installed
from memdb.store import rows as module
from memdb.store.rows import Row, packed_row, row_fields, stretches, stretches_by

TIMES = st.integers(-(2**63), 2**63 - 1) | st.integers(-9, 9)
PLACES = st.tuples(st.integers(1, 2), st.sampled_from([0, 1, 2**32 - 1]))


@st.composite
def commits(draw: st.DrawFn) -> list[list[Row]]:
    """Of some streams, whose numbers are skipped, come late and in any order."""
    found = []
    left = {place: list(range(14)) for place in draw(st.lists(PLACES, min_size=1, max_size=3))}
    order = random.Random(draw(st.integers(0, 2**32)))
    for _ in range(draw(st.integers(1, 6))):
        made: list[Row] = []
        for _ in range(draw(st.integers(0, 5))):
            place = order.choice(list(left))
            numbers = left[place]
            at = order.choice([0, 0, 0, min(1, len(numbers)), order.randint(0, len(numbers))])
            taken = numbers[at : at + order.randint(1, 5)]
            del numbers[at : at + len(taken)]
            made += [Row(*place, seq, draw(TIMES), draw(TIMES), True, seq) for seq in taken]
        found.append(made)
    return found


def all_of(coverage: Coverage) -> dict[tuple[int, int], tuple[Any, ...]]:
    return {key: astuple(epoch) for key, epoch in coverage._epochs.items()}


@pytest.fixture(params=["python", "native"], autouse=True)
def _found_by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_stretched_by", None)
    if request.param == "native":
        if not is_installed():
            pytest.skip("the native edge is not installed")
        import memdb_edge

        stretches_by(memdb_edge.stretches)


@settings(max_examples=300, deadline=None)
@given(commits())
def test_all_of_them_arrive(of_commits: list[list[Row]]) -> None:
    together, one_by_one = Coverage(), Coverage()
    for revision, its_own in enumerate(of_commits, 1):
        together.arrive(b"".join(map(packed_row, its_own)), revision)
        for row in its_own:
            epoch: EpochCoverage = one_by_one.epoch(row.stream_no, row.epoch)
            epoch.arrive(row.seq, row.start_ns, row.end_ns, revision)
            epoch.begin(row.start_ns)
            epoch.seal(row.seq, row.end_ns)
    assert all_of(together) == all_of(one_by_one)


@given(commits())
def test_stretches_are_as_long_as_they_may_be(of_commits: list[list[Row]]) -> None:
    rows = [row for its_own in of_commits for row in its_own]
    packed = b"".join(map(packed_row, rows))
    found = stretches(packed)
    begin = 0
    for stream_no, epoch, first_seq, count, start_ns, end_ns in found:
        its_own = rows[begin : begin + count]
        begin += count
        assert [(row.stream_no, row.epoch) for row in its_own] == [(stream_no, epoch)] * count
        assert [row.seq for row in its_own] == list(range(first_seq, first_seq + count))
        assert start_ns == min(row.start_ns for row in its_own)
        assert end_ns == its_own[-1].end_ns
    assert begin == len(rows) == len(list(row_fields(packed)))
    for before, after in pairwise(found):
        assert before[:2] != after[:2] or before[2] + before[3] != after[2]
