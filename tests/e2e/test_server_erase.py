"""Erasing over the wire: calls on the user wait, calls on others do not, watchers hear of it."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import memdb_client
from memdb.server import watch
from memdb.store import compact
from memdb.types.change import Change
from tests.e2e.serving import DIM, clip, serving, vector

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

CALLS = 40
"""More than the server has threads."""
AGAIN_S = 60.0
"""When a watch looks again by itself; longer than a busy machine takes for anything here."""


def test_calls_on_a_user_that_is_compacted_wait_and_others_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, compacting = threading.Event(), threading.Event()
    real = compact._copy

    def held(path: Path, new: Path, size: int) -> None:
        compacting.set()
        gate.wait(60)
        real(path, new, size)

    monkeypatch.setattr(compact, "_copy", held)
    monkeypatch.setattr(watch, "RECHECK_S", AGAIN_S)
    with serving(tmp_path / "data") as served, ThreadPoolExecutor(CALLS + 2) as threads:
        db = memdb_client.connect(served.address)
        db.create_space("p", dim=DIM)
        for name in "ab":
            db.user(name).stream("cam", space="p").write(clip(0))
            db.user(name).stream("gone", space="p").write(clip(0))
        heard: list[Change] = []

        def watches() -> None:
            for change in db.user("a").watch(from_revision=0):
                heard.append(change)
                if change.kind == "value":
                    return

        watching = threads.submit(watches)
        erasing = threads.submit(db.user("a").stream("gone").erase)
        assert compacting.wait(60)
        waiting = [threads.submit(db.user("a").ground, vector(0), limit=1) for _ in range(CALLS)]
        for number in range(1, 20):
            began = time.perf_counter()
            assert db.user("b").ground(vector(0), limit=1).hits
            assert not db.user("b").stream("cam").write(clip(number)).duplicate
            # Behind the compaction it would be a minute.
            assert time.perf_counter() - began < 20
        assert not any(call.done() for call in waiting)
        assert not erasing.done()
        gate.set()
        assert erasing.result(60).clips == 1
        for call in waiting:
            assert call.result(60).hits[0].clip.stream == "cam"
        began = time.perf_counter()
        db.user("a").put("diet", 1)
        watching.result(60)
        # By its subscription, not when it looks again by itself.
        assert time.perf_counter() - began < AGAIN_S / 2
        gone = [change.stream.id if change.stream else change.key for change in heard
                if change.kind == "stream"]  # fmt: skip
        assert [change.key for change in heard if change.kind == "remove-stream"] == [gone[1]]
        db.close()
