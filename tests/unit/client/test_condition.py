"""Conditions of the sync client in a program that is interrupted."""

from __future__ import annotations

from memdb_client._compat import Condition, Lock
from tests.interrupted_locks import free_after_each_interrupt


def test_ctrl_c_on_the_way_to_the_lock_leaves_it_free() -> None:
    lock = Lock()
    changed, wanted = Condition(lock), Condition(lock)

    def tell() -> None:
        with changed:
            changed.notify_all()

    def wait() -> None:
        with wanted, changed:
            changed.wait_for(lambda: True)

    assert free_after_each_interrupt(tell, wait) > 0
    with changed:
        assert not changed.wait(0.001)
