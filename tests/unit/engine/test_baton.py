"""A group that the edge begins as the one before it succeeds: nobody but the clock can tell it from another."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import lmdb
import numpy as np
import pytest

from memdb import MemdbError, Unavailable, failpoints
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.memory import UserMemory
from memdb.failpoints import FailpointError
from memdb.store import ready_writes, writeback
from memdb.store.native_commit import Came, NativeCommit
from tests.both_edges import NEEDS_NATIVE
from tests.unit.engine.conftest import DIM, clip, vector
from tests.unit.engine.test_interrupted import Interrupt, goes_on, is_ours

pytestmark = NEEDS_NATIVE


class Crowd:
    """Threads that write a clip each to a stream of their own, one behind the other while nobody can commit."""

    def __init__(self, db: EmbeddedDatabase) -> None:
        self.user = db.user("alice")
        for number in range(8):
            self.user.stream(f"camera-{number}", space="cam").write(clip(0))
        with db._users.use("alice") as memory:
            self.memory: UserMemory = memory
        self.outcomes: dict[int, BaseException | int] = {}
        self._threads: list[threading.Thread] = []

    def write(self, number: int, within: Callable[[], Any] = nullcontext, **fields: Any) -> None:
        """On a thread of its own."""

        def work() -> None:
            try:
                stream = self.user.stream(f"camera-{number}", space="cam")
                with within():
                    self.outcomes[number] = stream.write(clip(1, **fields)).revision
            except (FailpointError, MemdbError) as error:
                self.outcomes[number] = error

        self._threads.append(threading.Thread(target=work, daemon=True))
        self._threads[-1].start()

    @contextmanager
    def held_up(self) -> Iterator[None]:
        """No commit begins: somebody else has the environment's one write transaction."""
        txn = self.memory.environment._env.begin(write=True)
        try:
            yield
        finally:
            txn.abort()

    def first(self, **fields: Any) -> None:
        """One that is on its way to the disk."""
        self.write(0, **fields)
        self.until(lambda: self.under_way == ["camera-0"] and self.is_on_disk)

    def second(self, **fields: Any) -> None:
        """One that waits for the baton."""
        self.write(1, **fields)
        self.until(lambda: self.waiting == ["camera-1"])

    @property
    def under_way(self) -> list[str]:
        """Streams of the group that is being written."""
        return streams_of(self.memory._commits._under_way)

    @property
    def is_on_disk(self) -> bool:
        """Whether that one has gone."""
        given = self.memory._writer._disk
        return given is not None and given.is_set()

    @property
    def waits_in_python(self) -> bool:
        """Whether the next one waits for the disk, and not within the edge."""
        writer = self.memory._writer
        with writer._lock:
            return writer._next is not None and writer._behind is None

    @property
    def waiting(self) -> list[str]:
        """Of the one that waits within the edge to be begun behind it."""
        commits = self.memory._commits
        under_way = commits._under_way
        if under_way is None or under_way.baton is None or not under_way.baton.waited_for:
            return []
        return streams_of(commits._behind)

    def until(self, holds: Callable[[], bool]) -> None:
        until = time.monotonic() + 30
        while not holds():
            assert time.monotonic() < until, (self.under_way, self.waiting, self.outcomes)
            time.sleep(0.001)

    def join(self) -> None:
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive(), "it hangs"

    def seqs(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for one in self.user.clips(limit=100):
            found.setdefault(one.stream, []).append(one.seq)
        return found


def streams_of(group: Any) -> list[str]:
    return [] if group is None else [operation.stream for operation in group.operations]


@pytest.fixture
def crowd(db: EmbeddedDatabase) -> Iterator[Crowd]:
    yield Crowd(db)
    failpoints.arm("")
    assert db.verify().ok


@pytest.fixture
def came(monkeypatch: pytest.MonkeyPatch) -> list[Came]:
    """What became of those that waited behind another."""
    found: list[Came] = []
    behind = NativeCommit.run_behind

    def told(self: NativeCommit, *args: Any) -> Came:
        found.append(behind(self, *args))
        return found[-1]

    monkeypatch.setattr(NativeCommit, "run_behind", told)
    return found


def test_it_is_begun_where_the_one_before_succeeds(crowd: Crowd, came: list[Came]) -> None:
    with crowd.held_up():
        crowd.first()
        crowd.second()
    crowd.join()
    assert came == [Came.MADE]
    assert crowd.outcomes == {0: 9, 1: 10}
    for number in range(2):
        hits = crowd.user.ground(vector(1), limit=1, streams=[f"camera-{number}"]).hits
        assert hits[0].clip.seq == 1


def test_who_comes_meanwhile_joins_it(crowd: Crowd, came: list[Came]) -> None:
    with crowd.held_up():
        crowd.first()
        crowd.second()
        for number in range(2, 8):
            crowd.write(number)
            crowd.until(lambda: len(crowd.waiting) == number)  # noqa: B023
    crowd.join()
    assert came == [Came.CALLED] * 6 + [Came.MADE]
    assert crowd.outcomes == {0: 9} | dict.fromkeys(range(1, 8), 10)


def test_one_behind_the_other_and_each_is_shown_in_its_order(
    crowd: Crowd, came: list[Came]
) -> None:
    """A baton goes on from who was handed one."""
    stop = threading.Event()

    def camera(number: int) -> None:
        stream = crowd.user.stream(f"camera-{number}", space="cam")
        seq = 1
        while not stop.is_set():
            ack = stream.write(clip(seq))
            assert crowd.user.revision() >= ack.revision
            seq += 1

    threads = [threading.Thread(target=camera, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    crowd.until(lambda: came.count(Came.MADE) >= 100)
    stop.set()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    for seqs in crowd.seqs().values():
        assert seqs == list(range(len(seqs)))
    memory = crowd.memory
    assert (memory._commits._under_way, memory._commits._behind) == (None, None)
    assert (memory._writer._disk, memory._writer._behind) == (None, None)


class Broken:
    """The first commit from now on fails in LMDB, once somebody waits behind it."""

    def __init__(self, crowd: Crowd, monkeypatch: pytest.MonkeyPatch) -> None:
        self._crowd = crowd
        monkeypatch.setattr(NativeCommit, "run", self._run)

    def _run(self, *_: Any) -> bool:
        self._crowd.until(lambda: self._crowd.waiting == ["camera-1"])
        raise lmdb.Error("mdb_txn_commit: Input/output error")


def test_it_is_not_begun_where_the_one_before_fails(
    crowd: Crowd, came: list[Came], monkeypatch: pytest.MonkeyPatch
) -> None:
    Broken(crowd, monkeypatch)
    crowd.first()
    crowd.write(1)
    crowd.join()
    assert came == [Came.ENDED]
    for outcome in crowd.outcomes.values():
        assert isinstance(outcome, Unavailable)
        assert outcome.reason == "READ_ONLY"
    assert crowd.seqs() == {f"camera-{number}": [0] for number in range(8)}


@pytest.mark.parametrize("second", [False, True])
def test_where_the_map_is_full_it_grows(crowd: Crowd, came: list[Came], second: bool) -> None:
    """second: it is the one behind that has no room."""
    large = {"short_memory": np.ones((60_000, DIM), np.float16)}
    with crowd.held_up():
        crowd.memory.environment._room = 1 << 30  # so that it is not known before
        crowd.first(**({} if second else large))
        crowd.second(**(large if second else {}))
    crowd.join()
    assert came == [Came.REFUSED if second else Came.ENDED]
    assert crowd.outcomes == {0: 9, 1: 10}


@pytest.mark.parametrize("due", ["room", "release"])
def test_while_something_is_to_be_done_first_it_waits_in_python(
    crowd: Crowd, came: list[Came], due: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A map that has to grow; one of which too much is in memory, which is let go of once nobody is inside."""
    with crowd.held_up():
        crowd.first()
        if due == "room":
            crowd.memory.environment._room = 1
        else:
            monkeypatch.setattr(ready_writes, "MAPPED_BYTES_MAX", 0)
        crowd.write(1)
        crowd.until(lambda: crowd.memory._writer._next is not None)
    crowd.join()
    assert came == []
    assert crowd.outcomes == {0: 9, 1: 10}


@pytest.mark.parametrize("which", [0, 1])
def test_one_that_does_not_learn_of_its_success(
    crowd: Crowd, monkeypatch: pytest.MonkeyPatch, which: int
) -> None:
    """Both are in the store, and of the two no more is shown than what is before it."""
    name = ("run", "run_behind")[which]
    real = getattr(NativeCommit, name)

    def raising(self: NativeCommit, *args: Any) -> None:
        assert real(self, *args) in (True, Came.MADE)
        raise FailpointError(name)

    with monkeypatch.context() as patched:
        patched.setattr(NativeCommit, name, raising)
        with crowd.held_up():
            crowd.first()
            crowd.second()
        crowd.join()
    assert isinstance(crowd.outcomes[which], FailpointError)
    if which == 0:
        assert isinstance(crowd.outcomes[1], Unavailable)
        assert crowd.outcomes[1].reason == "INDEX_BROKEN"
    else:
        assert crowd.outcomes[0] == 9
        with pytest.raises(Unavailable):
            crowd.user.stream("camera-2", space="cam").write(clip(1))
    for number in range(2):
        assert crowd.user.stream(f"camera-{number}", space="cam").write(clip(1)).duplicate


def test_one_that_fails_before_it_waits_is_of_nobody_else(crowd: Crowd, came: list[Came]) -> None:
    failpoints.arm("commit.before=error@2")
    with crowd.held_up():
        crowd.first()
        crowd.write(1)
        crowd.until(lambda: 1 in crowd.outcomes)
    crowd.join()
    assert came == []
    assert crowd.outcomes[0] == 9
    assert isinstance(crowd.outcomes[1], FailpointError)
    assert crowd.user.stream("camera-1", space="cam").write(clip(1)).revision == 10


def test_a_large_one_begins_to_go_to_the_disk_once_it_is_begun(
    crowd: Crowd, came: list[Came], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[bool] = []
    real = writeback._begin_over_and_over

    def noted(*args: Any) -> None:
        *others, wait = args

        def waited() -> None:
            wait()
            begun.append(True)

        real(others[0], others[1], others[2], waited)

    monkeypatch.setattr(writeback, "BYTES_MIN", 1)
    monkeypatch.setattr(writeback, "_begin_over_and_over", noted)
    with crowd.held_up():
        crowd.first()
        crowd.until(lambda: len(begun) == 1)
        crowd.second()
        assert len(begun) == 1
    crowd.join()
    crowd.until(lambda: len(begun) == 2)
    assert came == [Came.MADE]


@pytest.mark.parametrize("first", [False, True])
def test_wherever_one_of_the_two_is_interrupted(
    db: EmbeddedDatabase, came: list[Came], first: bool
) -> None:
    """first: it is the one before that is."""
    for times in range(1, 1000):
        interrupt = Interrupt(is_ours, times)
        _interrupted(db, interrupt, first)
        if not interrupt.came:
            break
    assert times > 30
    assert Came.MADE in came


def _interrupted(db: EmbeddedDatabase, interrupt: Interrupt, first: bool) -> None:
    crowd = Crowd(db)
    with crowd.held_up():
        crowd.write(0, interrupt.within if first else nullcontext)
        crowd.until(lambda: crowd.under_way == ["camera-0"] or interrupt.came)
        crowd.write(1, nullcontext if first else interrupt.within)
        crowd.until(lambda: ["camera-1"] in (crowd.waiting, crowd.under_way) or interrupt.came)
    crowd.join()
    goes_on(db)
    for number in range(2):
        crowd.user.stream(f"camera-{number}", space="cam").write(clip(1))
    assert crowd.seqs()["camera-0"] == crowd.seqs()["camera-1"] == [0, 1]
    db.user("alice").erase()
