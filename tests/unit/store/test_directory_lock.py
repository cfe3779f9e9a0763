"""The lock of a data directory: whoever waits for it is given it, and of the directory that lies there then."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from memdb.store.directory_lock import DirectoryLock

WAIT_S = 60


class Waiter:
    """Somebody who waits for a directory in a thread."""

    def __init__(self, path: Path) -> None:
        self.owners: list[str] = []
        self.waits = threading.Semaphore(0)
        self.lock: DirectoryLock | None = None
        self.thread = threading.Thread(target=self._run, args=(path,), daemon=True)
        self.thread.start()

    def _run(self, path: Path) -> None:
        self.lock = DirectoryLock.wait(path, self._waiting)

    def _waiting(self, owner: str) -> None:
        self.owners.append(owner)
        self.waits.release()

    def has_begun(self) -> None:
        assert self.waits.acquire(timeout=WAIT_S)

    def ends(self) -> DirectoryLock | None:
        self.thread.join(WAIT_S)
        assert not self.thread.is_alive()
        return self.lock


@contextmanager
def taken(path: Path) -> Iterator[DirectoryLock]:
    lock = DirectoryLock.take(path)
    lock.sign()
    yield lock
    lock.close()


def is_locked(path: Path) -> bool:
    fd = os.open(path / "LOCK", os.O_RDWR)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def test_where_there_is_none_nobody_waits(tmp_path: Path) -> None:
    def waiting(_: str) -> None:
        raise AssertionError("for whom?")

    assert DirectoryLock.wait(tmp_path, waiting) is None
    assert DirectoryLock.wait(tmp_path / "none", waiting) is None
    (tmp_path / "file").write_text("")
    assert DirectoryLock.wait(tmp_path / "file", waiting) is None
    assert not (tmp_path / "LOCK").exists()


def test_one_that_nobody_has_is_had_at_once(tmp_path: Path) -> None:
    with taken(tmp_path):
        pass
    lock = DirectoryLock.wait(tmp_path, lambda _: pytest.fail("nobody has it"))
    assert lock is not None
    assert is_locked(tmp_path)
    lock.close()
    lock.close()  # once
    assert not is_locked(tmp_path)


def test_of_two_that_wait_one_is_given_it_and_the_other_waits_on(tmp_path: Path) -> None:
    with taken(tmp_path) as first:
        waiters = [Waiter(tmp_path), Waiter(tmp_path)]
        for waiter in waiters:
            waiter.has_begun()
            assert waiter.owners == [str(os.getpid())]
        first.close()
        until_s = time.monotonic() + WAIT_S
        while not any(waiter.lock for waiter in waiters) and time.monotonic() < until_s:
            waiters[0].thread.join(0.001)
        winner = next(waiter for waiter in waiters if waiter.lock)
        other = next(waiter for waiter in waiters if waiter is not winner)
        assert is_locked(tmp_path)
        assert other.lock is None
        given = winner.ends()
        assert given is not None
        given.close()
        last = other.ends()
        assert last is not None
        assert other.owners == [str(os.getpid())]  # it waited once
        last.close()


def test_a_directory_that_was_put_there_meanwhile_is_the_one_waited_for(tmp_path: Path) -> None:
    """As an operator does who moves a restored directory in place of the one that is served."""
    data, old = tmp_path / "data", tmp_path / "old"
    data.mkdir()
    with taken(data) as first:
        waiter = Waiter(data)
        waiter.has_begun()
        data.rename(old)
        data.mkdir()
        with taken(data):
            first.close()
            waiter.has_begun()
            assert not is_locked(old)
            assert waiter.thread.is_alive()
        given = waiter.ends()
        assert given is not None
        assert is_locked(data)
        given.close()


def test_one_whose_directory_is_gone_meanwhile_waits_for_nobody(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    with taken(data) as first:
        waiter = Waiter(data)
        waiter.has_begun()
        data.rename(tmp_path / "old")
        first.close()
        assert waiter.ends() is None


def test_what_it_says_is_a_number_whatever_was_said_before(tmp_path: Path) -> None:
    (tmp_path / "LOCK").write_text("4194304123\nand more")
    with taken(tmp_path):
        assert (tmp_path / "LOCK").read_text() == f"{os.getpid()}\n"


def test_who_waits_leaves_the_file_as_it_is(tmp_path: Path) -> None:
    """It may be somebody else's, who calls a file LOCK too."""
    (tmp_path / "LOCK").write_text("of another program")
    lock = DirectoryLock.wait(tmp_path, lambda _: None)
    assert lock is not None
    lock.close()
    assert (tmp_path / "LOCK").read_text() == "of another program"
