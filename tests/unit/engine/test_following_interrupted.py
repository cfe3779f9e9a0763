"""Ctrl-C in a group that goes to LMDB behind another, or in that one: nobody waits for ever, and nothing is lost."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import CodeType
from typing import Any

import pytest

from memdb.engine.database import EmbeddedDatabase
from memdb.store.environment import Environment
from memdb.store.native_commit import NativeCommit
from tests.both_edges import NEEDS_NATIVE
from tests.unit.engine.conftest import clip
from tests.unit.engine.door import filled
from tests.unit.engine.following import Commits, Run, Writing, held_in_lmdb, the_first
from tests.unit.engine.test_interrupted import (
    Interrupt,
    InterruptAsItReturns,
    InterruptAtABytecode,
    goes_on,
    is_ours,
)

pytestmark = [NEEDS_NATIVE, pytest.mark.usefixtures("follow")]


def behind_or(interrupt: Interrupt, commits: Commits) -> Callable[[], bool]:
    """Whether somebody came behind the first, or none will."""
    return lambda: commits.behind.is_set() or interrupt.came


def at_its_bytecode(times: int) -> Interrupt:
    """Of what goes to LMDB."""
    return InterruptAtABytecode(lambda code: code.co_qualname == "Writes._written_behind", times)


def at_its_call(times: int) -> Interrupt:
    """As a function of the package is entered."""
    return Interrupt(is_ours, times)


@pytest.mark.parametrize("interrupting", [at_its_bytecode, at_its_call])
def test_an_interrupt_of_who_follows(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch, interrupting: Callable[[int], Interrupt]
) -> None:
    filled(db, 1)
    door = db.user("alice").stream("door", space="cam")
    real = NativeCommit.run
    tried = 0
    for times in range(1, 2000):
        door.write(clip(1, epoch=times))  # from which it is known what the store has
        with monkeypatch.context() as patched:
            commits = the_first(patched, lambda _, run: run())
            interrupt = interrupting(times)
            with held_in_lmdb(db, behind_or(interrupt, commits)) as go:
                first = Writing(db, f"camera-{times}", 0)
                assert commits.begun.wait(30)
                with interrupt.within():
                    door.write(clip(0, epoch=times))
                go.set()
            first.wait()
        assert NativeCommit.run is real
        if not interrupt.came:
            break
        tried += 1
        check_goes_on(db, times)
    assert tried > 30
    assert db.verify().ok


def check_goes_on(db: EmbeddedDatabase, times: int) -> None:
    """Writes go on, and the clips of both writers are there once."""
    goes_on(db)
    alice = db.user("alice")
    for stream, epoch in ((alice.stream("door"), times), (alice.stream(f"camera-{times}"), 0)):
        stream.write(clip(0, epoch=epoch))
        assert stream.write(clip(0, epoch=epoch)).duplicate


def coming_once(
    begun: threading.Event, interrupt: Interrupt, db: EmbeddedDatabase, stream: str
) -> tuple[threading.Thread, list[Writing]]:
    """A thread, to be started, that writes a clip of a stream once something has begun or never will; and its write."""
    writings: list[Writing] = []

    def come() -> None:
        while not (begun.wait(0.001) or interrupt.came):
            pass
        writings.append(Writing(db, stream, 0))

    return threading.Thread(target=come, daemon=True), writings


def waits(db: EmbeddedDatabase, commits: Commits, is_over: Callable[[], bool]) -> None:
    """Until who came behind the first has been written, and waits for that one to be done with."""
    with db._users.use("alice") as memory:
        changed = memory._writer._changed
    while not ((commits.done and changed._waiters) or is_over()):  # type: ignore[attr-defined]
        threading.Event().wait(0.001)


def test_an_interrupt_of_who_is_followed(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(db, 1)
    door = db.user("alice").stream("door", space="cam")
    tried = 0
    for times in range(1, 2000):
        door.write(clip(1, epoch=times))  # from which it is known what the store has
        interrupt = at_its_call(times)

        def first(commits: Commits, run: Run, interrupt: Interrupt = interrupt) -> bool:
            is_done = run()
            waits(db, commits, lambda: interrupt.came)
            return is_done

        with monkeypatch.context() as patched:
            commits = the_first(patched, first)
            thread, writings = coming_once(commits.begun, interrupt, db, f"camera-{times}")
            with held_in_lmdb(db, behind_or(interrupt, commits)):
                thread.start()
                with interrupt.within():
                    door.write(clip(0, epoch=times))
            thread.join(30)
            writings[0].wait()
        if not interrupt.came:
            break
        tried += 1
        check_goes_on(db, times)
    assert tried > 30
    assert db.verify().ok


def in_follow(code: CodeType) -> bool:
    """Whether it is `Commits.follow`, or what it tells that it has ended by."""
    caller = sys._getframe(2).f_back
    return code.co_qualname == "Commits.follow" or (
        code.co_filename == threading.__file__
        and caller is not None
        and caller.f_code.co_qualname == "Commits.follow"
    )


def test_who_is_interrupted_as_it_follows_is_not_waited_for(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the one before, which is not written as it was decided, and must know that this one is not either."""
    filled(db, 1)
    door = db.user("alice").stream("door", space="cam")
    tried = 0
    for times in range(1, 100):
        door.write(clip(1, epoch=times))  # from which it is known what the store has
        interrupt = InterruptAsItReturns(in_follow, times)
        is_behind = threading.Event()

        def first(
            _: Commits,
            __: Run,
            interrupt: Interrupt = interrupt,
            is_behind: threading.Event = is_behind,
        ) -> bool:
            while not (is_behind.wait(0.001) or interrupt.came):
                pass
            return False

        def behind(_: Environment, *__: Any, is_behind: threading.Event = is_behind) -> bool:
            is_behind.set()
            return False

        with monkeypatch.context() as patched:
            commits = the_first(patched, first)
            patched.setattr(Environment, "write_behind", behind)
            writing = Writing(db, f"camera-{times}", 0)
            assert commits.begun.wait(30)
            with suppress(KeyboardInterrupt), interrupt.within():
                door.write(clip(0, epoch=times))
            assert writing.wait(), writing.error
        if not interrupt.came:
            break
        tried += 1
        goes_on(db)
    assert tried > 3
    assert db.verify().ok
