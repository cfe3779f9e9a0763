"""Where there is no memory to read or to stage clips, that is said, and what is tried again is as ever."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("memdb_edge", reason="the native edge is not installed")

import memdb_edge

from memdb.engine.apply_run import one_by_one
from memdb.store.schema import ledger_key
from memdb.types.operation import WriteRun
from memdb.types.plain_run import Entries
from tests.unit.engine.conftest import DIM, clip
from tests.unit.engine.plain_runs import message, runs

_testcapi = pytest.importorskip("_testcapi")


def starved(make: Callable[[], Any]) -> list[Any]:
    """What is made once memory suffices, and what is made then; each time it ends one allocation later."""
    allocations = 0
    while True:
        _testcapi.set_nomemory(allocations, 0)
        try:
            made = make()
            break
        except MemoryError:
            allocations += 1
        finally:
            _testcapi.remove_mem_hooks()
    assert allocations > 3
    return [made, make()]


def none_yet() -> tuple[Entries, Entries, Entries, Entries]:
    return {}, {}, {}, {}


def test_of_runs() -> None:
    tokens = np.ones((16, DIM), np.float16)
    read = message([clip(seq, short_memory=tokens) for seq in (0, 1, 2, 5)])
    first, again = starved(lambda: read.runs(0))
    assert [(run.first_seq, len(run)) for run in first] == [(0, 3), (5, 1)]
    assert len(again) == 2

    def staged() -> Any:
        tables = none_yet()
        return tables, first[0].stage(*tables, 1, 2, 3, 4)

    made, anew = starved(staged)
    assert made == anew
    assert [len(table) for table in made[0]] == [3, 3, 3, 3]


def test_of_clips_that_are_made_here() -> None:
    (run,) = runs([clip(seq) for seq in range(3)])
    operations = one_by_one([WriteRun("door", None, run)])
    keys = [ledger_key(1, 0, seq) for seq in range(3)]

    def staged() -> Any:
        tables = none_yet()
        return tables, memdb_edge.stage_plain(
            *tables, operations, keys, [1] * 3, DIM, False, 2, 3, 4
        )

    made, anew = starved(staged)
    assert made == anew
    assert [len(table) for table in made[0]] == [3, 3, 0, 3]
