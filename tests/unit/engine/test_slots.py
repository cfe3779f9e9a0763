"""Slots of users, of which everybody's call takes one."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

from memdb.engine.slots import Slots
from tests.unit.engine.test_interrupted import InterruptAsItReturns
from tests.unit.locks import in_a_wait, is_free


def test_who_is_interrupted_as_it_waits_for_calls_gives_the_lock_back() -> None:
    """Nobody's call on any user would begin any more."""
    for times in range(1, 60):
        interrupt = InterruptAsItReturns(in_a_wait, times)
        wait_for_a_call(interrupt)
        if not interrupt.came:
            return
    raise AssertionError("it came everywhere")


def wait_for_a_call(interrupt: InterruptAsItReturns) -> None:
    """Have a user alone, on a thread that is interrupted, with a call on it that ends once it is waited for."""
    slots = Slots(8)
    slot = slots.enter("alice")
    slots.call_begins(slot)

    def be_alone() -> None:
        with interrupt.within(), suppress(KeyboardInterrupt), slots.alone("alice"):
            pass

    thread = threading.Thread(target=be_alone, daemon=True)
    thread.start()
    until = time.monotonic() + 20
    while thread.is_alive() and not slots._idle._waiters:  # type: ignore[attr-defined]
        assert time.monotonic() < until, "it hangs"
        time.sleep(0.001)
    slots.leave("alice", slot, is_call=True)
    thread.join(20)
    assert not thread.is_alive(), "it hangs"
    assert is_free(slots._lock)
    assert (slot.users, slot.calls, slot.closing) == (0, 0, False)
