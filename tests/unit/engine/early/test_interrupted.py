"""Who waits until a user that answers early is looked through is interrupted (Ctrl-C)."""

from __future__ import annotations

import threading
from contextlib import ExitStack, suppress
from pathlib import Path

from memdb.engine.memory import UserMemory
from tests.unit.engine.early.large import MANY, asked, filled, memory_of
from tests.unit.engine.test_interrupted import InterruptAsItReturns
from tests.unit.engine.test_kept_index import opened
from tests.unit.locks import in_a_wait


def test_it_is_looked_through_all_the_same(tmp_path: Path) -> None:
    filled(tmp_path / "data")
    for times in range(1, 60):
        interrupt = InterruptAsItReturns(in_a_wait, times)
        closing = ExitStack()  # not where it hangs: so would this
        db = closing.enter_context(opened(tmp_path / "data", MANY))
        asked(db)
        memory = memory_of(db)
        assert not memory.is_whole
        waited(memory, interrupt)
        waited(memory, None)
        assert memory.is_whole
        closing.close()
        if not interrupt.came:
            return
    raise AssertionError("it came everywhere")


def waited(memory: UserMemory, interrupt: InterruptAsItReturns | None) -> None:
    """Have a thread wait, which ends."""

    def wait() -> None:
        if interrupt is None:
            memory.wait_whole()
        else:
            with interrupt.within(), suppress(KeyboardInterrupt):  # and nothing else
                memory.wait_whole()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive(), "it hangs"
