"""The gate before an environment."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

import pytest

from memdb.store.gate import Gate
from tests.unit.engine.test_interrupted import InterruptAsItReturns
from tests.unit.locks import in_a_wait, is_free


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
        interrupt = InterruptAsItReturns(in_a_wait, times)
        with suppress(KeyboardInterrupt), interrupt.within(), gate.owned():
            pass
        assert is_free(gate._lock)
        if not interrupt.came:
            break


@pytest.mark.parametrize("waits", ["owner", "passer"])
def test_who_is_interrupted_anywhere_in_a_wait_gives_back_what_it_has(waits: str) -> None:
    """Else it gives back what somebody else has by then, whose commit fails."""
    for times in range(1, 40):
        gate = Gate()
        keeper = Keeper(gate, owns=waits == "passer")
        interrupt = InterruptAsItReturns(in_a_wait, times)
        passage = gate.owned() if waits == "owner" else gate.passing()
        with interrupt.within(), suppress(KeyboardInterrupt), passage:  # and nothing else
            pass
        keeper.end()
        assert is_free(gate._lock)
        assert (gate._inside, gate._owned) == (0, False)
        if not interrupt.came:
            return
    raise AssertionError("it came everywhere")


class Keeper:
    """Keeps others out of a gate until one of them waits."""

    def __init__(self, gate: Gate, *, owns: bool) -> None:
        self._gate = gate
        self._owns = owns
        self._is_in, self._over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self._thread.start()
        assert self._is_in.wait(30)

    def _keep(self) -> None:
        with self._gate.owned() if self._owns else self._gate.passing():
            self._is_in.set()
            while not (self._gate._changed._waiters or self._over.is_set()):  # type: ignore[attr-defined]
                time.sleep(0.001)

    def end(self) -> None:
        """Nobody is going to wait any more."""
        self._over.set()
        self._thread.join()
