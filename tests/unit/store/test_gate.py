"""The gate before an environment."""

from __future__ import annotations

import threading
from contextlib import suppress

import pytest

from memdb.store.gate import Gate
from tests.unit.engine.test_interrupted import InterruptAsItReturns, in_threading


def test_an_owner_that_is_interrupted_while_it_waits_leaves_the_gate_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    gate = Gate()
    with gate.passing(), monkeypatch.context() as waiting:
        waiting.setattr(gate._changed, "wait", interrupt)
        with pytest.raises(KeyboardInterrupt), gate.owned():
            pass
    passed = threading.Event()

    def pass_by() -> None:
        with gate.passing(), gate.passing():
            passed.set()

    threading.Thread(target=pass_by, daemon=True).start()
    assert passed.wait(5)
    with gate.owned():
        pass


def test_an_owner_that_is_interrupted_as_it_takes_the_lock_gives_it_back() -> None:
    for times in range(1, 20):
        gate = Gate()
        interrupt = InterruptAsItReturns(in_threading, times)
        with suppress(KeyboardInterrupt), interrupt.within(), gate.owned():
            pass
        assert not gate._lock.locked()
        if not interrupt.came:
            break
