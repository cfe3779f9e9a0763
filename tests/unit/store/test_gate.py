"""The gate before an environment."""

from __future__ import annotations

import threading

import pytest

from memdb.store.gate import Gate


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
