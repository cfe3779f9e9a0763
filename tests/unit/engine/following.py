"""Groups that go to LMDB behind another, which a test holds there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from memdb import Clip
from memdb.engine.database import EmbeddedDatabase
from memdb.store.native_commit import NativeCommit, ReadyCommit
from memdb.types.clip import Ack
from tests.unit.engine.conftest import clip

Run = Callable[[], bool]


class Commits:
    """What goes to LMDB by the edge: the first of them as the test has it, once another one has come behind it."""

    def __init__(self, first: Callable[[Run], bool]) -> None:
        self._first = first
        self._lock = threading.Lock()
        self._count = 0
        self.begun = threading.Event()
        self.behind = threading.Event()
        self.two_behind = threading.Event()
        self.done: list[bool] = []
        """What became of those that came behind the first, until it had ended."""

    def run(self, real: Run) -> bool:
        with self._lock:
            number, self._count = self._count, self._count + 1
        if number == 0:
            self.begun.set()
            return self._first(real)
        (self.behind if number == 1 else self.two_behind).set()
        is_done = real()
        self.done.append(is_done)
        return is_done


def the_first(monkeypatch: pytest.MonkeyPatch, first: Callable[[Commits, Run], bool]) -> Commits:
    """The commits from now on."""
    found = Commits(lambda real: first(found, real))
    run = NativeCommit.run

    def instead(self: NativeCommit, env: Any, ready: ReadyCommit) -> bool:
        return found.run(lambda: run(self, env, ready))

    monkeypatch.setattr(NativeCommit, "run", instead)
    return found


@contextmanager
def held_in_lmdb(
    db: EmbeddedDatabase, is_over: Callable[[], bool] = lambda: False
) -> Iterator[threading.Event]:
    """Whoever comes to LMDB to write waits there, until the event that is given is set, or it is over."""
    with db._users.use("alice") as memory:
        env = memory.environment._mapped.env
    held, go = threading.Event(), threading.Event()

    def hold() -> None:  # a transaction to write is ended by the thread that began it
        with env.begin(write=True) as txn:
            held.set()
            while not (go.wait(0.001) or is_over()):
                pass
            txn.abort()

    thread = threading.Thread(target=hold, daemon=True)
    thread.start()
    assert held.wait(30)
    try:
        yield go
    finally:
        go.set()
        thread.join(30)


class Writing:
    """A clip written by a thread."""

    def __init__(
        self,
        db: EmbeddedDatabase,
        stream: str,
        seq: int,
        made: Callable[[int], Clip] = clip,
    ) -> None:
        self.ack: Ack | None = None
        self.error: BaseException | None = None

        def write() -> None:
            try:
                self.ack = db.user("alice").stream(stream, space="cam").write(made(seq))
            except BaseException as error:
                self.error = error

        self._thread = threading.Thread(target=write, daemon=True)
        self._thread.start()

    def wait(self) -> Ack | None:
        self._thread.join(30)
        assert not self._thread.is_alive(), "it hangs"
        return self.ack
