"""Ctrl-C in a program with an embedded database, wherever it comes: the calls after it go on."""

from __future__ import annotations

import inspect
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest

import memdb
from memdb import Unavailable
from memdb.engine.commits import Group
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.memory import UserMemory
from memdb.engine.taken import Taken
from memdb.engine.writer import Writer
from memdb.news import News
from memdb.store import writeback
from memdb.store.environment import Environment
from memdb.store.gate import Gate
from memdb.store.mapped import MappedFile
from memdb.store.structure import mark_clean
from memdb.types.operation import PutValue
from tests.both_edges import NEEDS_NATIVE
from tests.interrupted_locks import free_after_each_interrupt
from tests.unit.engine.conftest import CONFIG, clip
from tests.unit.engine.door import filled, seqs
from tests.unit.locks import in_a_wait

PACKAGE = str(Path(memdb.__file__).parent)
IN_ORDER = frozenset(
    (
        *("__exit__", "_abandon", "_call_ended", "_drop_if_unused", "_let_go", "_settle"),
        *("abort", "disown", "end_read", "give", "leave", "leave_owning"),
    )
)
"""What puts things in order at the end of a block: nothing protects that from an interrupt of its own."""


def is_ours(code: CodeType) -> bool:
    """Whether it is a function of the package in which an interrupt may come."""
    # Not in a generator that is being closed either, which tells nobody.
    name = code.co_name
    return code.co_filename.startswith(PACKAGE) and name not in IN_ORDER and name[0] != "<"


class Interrupt:
    """Raises `KeyboardInterrupt` as a function is entered for the n-th time."""

    def __init__(self, chosen: Callable[[CodeType], bool], times: int) -> None:
        self._chosen = chosen
        self._left = times

    @property
    def came(self) -> bool:
        return self._left <= 0

    def _trace(self, frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and self._left > 0 and self._chosen(frame.f_code):
            self._left -= 1
            if self._left == 0:
                raise KeyboardInterrupt

    @contextmanager
    def within(self) -> Iterator[None]:
        before = sys.gettrace()
        sys.settrace(self._trace)
        try:
            with suppress(KeyboardInterrupt):
                yield
        finally:
            sys.settrace(before)


def entering(function: Any, times: int = 1) -> Interrupt:
    return Interrupt(lambda code: code is function.__code__, times)


def goes_on(db: EmbeddedDatabase) -> None:
    """Every kind of call, on a thread of its own: what hangs is no test that never ends."""
    errors: list[BaseException] = []

    def call() -> None:
        try:
            with suppress(Unavailable):  # a commit that was not published: the user is opened anew
                db.user("alice").put("k", 1)
            db.user("alice").put("k", 2)
            assert db.user("alice").get("k") == 2
            db.create_space("other", dim=4)
            assert db.verify().ok
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive(), "it hangs"
    assert errors == []


@pytest.mark.parametrize(
    ("function", "times"),
    [
        *((Writer._hand_over, 1), (Taken.take_from, 1), (Environment.write, 1)),
        *((MappedFile.grow_ahead, 1), (Gate.enter, 1), (Writer._give_disk, 1)),
        (Writer._end, 1),
    ],
)
def test_a_write(db: EmbeddedDatabase, function: Any, times: int) -> None:
    filled(db, 3)
    interrupt = entering(function, times)
    with interrupt.within():
        db.user("alice").put("k", 0)
    assert interrupt.came
    goes_on(db)
    assert seqs(db) == [0, 1, 2]


def put(db: EmbeddedDatabase, _: int) -> None:
    db.user("alice").put("k", 0)


def write_plain(db: EmbeddedDatabase, epoch: int) -> None:
    """Clips that are decided together, and whose commit begins to go to the disk early."""
    clips = [clip(seq, epoch=epoch) for seq in range(3)]
    db.user("alice").stream("door", space="cam").write_many(clips)


@pytest.mark.parametrize("write", [put, write_plain])
def test_a_write_wherever_it_calls_something(
    db: EmbeddedDatabase,
    monkeypatch: pytest.MonkeyPatch,
    write: Callable[[EmbeddedDatabase, int], None],
) -> None:
    monkeypatch.setattr(writeback, "BYTES_MIN", 1)
    filled(db, 3)

    for times in range(1, 1000):
        interrupt = Interrupt(is_ours, times)
        with interrupt.within():
            write(db, times)
        if not interrupt.came:
            break
        goes_on(db)
    assert times > 30
    by_epoch: dict[int, list[int]] = {}
    for found in db.user("alice").clips(limit=1000):
        by_epoch.setdefault(found.epoch, []).append(found.seq)
    assert 0 in by_epoch
    assert all(seqs == [0, 1, 2] for seqs in by_epoch.values()), "each whole, or none of it"


def test_who_shares_the_commit_is_not_interrupted_with_it(db: EmbeddedDatabase) -> None:
    filled(db, 3)
    errors: dict[str, BaseException] = {}
    interrupt = entering(Environment.write)

    def write(key: str, queued: threading.Event) -> None:
        try:
            with interrupt.within() if key == "first" else nullcontext():
                memory.write([PutValue(key, "1")], queued.set)
        except BaseException as error:
            errors[key] = error

    with db._users.use("alice") as memory:
        threads: list[threading.Thread] = []
        with memory.held_back():  # until both wait: the first takes the other's along
            for key in ("first", "second"):
                queued = threading.Event()
                threads.append(threading.Thread(target=write, args=(key, queued), daemon=True))
                threads[-1].start()
                assert queued.wait(60)
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
    assert interrupt.came
    assert [(key, type(error)) for key, error in errors.items()] == [("second", Unavailable)]
    goes_on(db)


def test_who_waits_until_no_commit_is_on_its_way(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(db, 3)
    is_free = threading.Event()

    def wait() -> None:
        with memory.held_back():
            is_free.set()

    waiter = threading.Thread(target=wait, daemon=True)
    with db._users.use("alice") as memory:
        publish = memory._commits.publish

        def publish_while_one_waits(group: Group) -> Any:
            waiter.start()
            while not memory._writer._held:
                waiter.join(0.001)
            return publish(group)

        monkeypatch.setattr(memory._commits, "publish", publish_while_one_waits)

        def is_told(code: CodeType) -> bool:
            ends = sys._getframe(2).f_back
            return (
                code is threading.Condition.notify_all.__code__
                and ends is not None
                and ends.f_code is Writer._end.__code__
            )

        interrupt = Interrupt(is_told, 1)
        with interrupt.within():
            db.user("alice").put("k", 0)
        monkeypatch.undo()
    assert interrupt.came
    assert is_free.wait(60)
    waiter.join(60)
    goes_on(db)


@pytest.mark.parametrize("function", [mark_clean, Environment.close, Environment.__init__])
def test_a_compaction(db: EmbeddedDatabase, function: Any) -> None:
    filled(db, 3)
    interrupt = entering(function)
    with interrupt.within():
        db.user("alice").compact()
    assert interrupt.came
    goes_on(db)
    assert seqs(db) == [0, 1, 2]


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("function", [mark_clean, Environment.close])
def test_an_erasure(db: EmbeddedDatabase, function: Any, times: int) -> None:
    """Of the user's environment, which is closed first, and of the catalog's, which is made anew."""
    filled(db, 3)
    db.user("bob").put("k", 1)
    interrupt = entering(function, times)
    with interrupt.within():
        db.user("bob").erase()
    assert interrupt.came
    goes_on(db)
    with suppress(memdb.NotFound):
        db.user("bob").erase()
    assert db.users() == ["alice"]
    assert seqs(db) == [0, 1, 2]


@pytest.mark.parametrize(
    "function", [UserMemory.close, Environment.close, Gate.owned], ids=["user", "file", "gate"]
)
@pytest.mark.parametrize("why", ["to make room", "to be opened again", "alone"])
def test_the_end_of_an_open_user(tmp_path: Path, why: str, function: Any) -> None:
    """Somebody still has it, as the traceback of an interrupt has: it goes with nobody's last name of it."""
    config = replace(CONFIG, open_users_max=1)
    with EmbeddedDatabase(tmp_path / "data", config=config) as db:
        db.user("alice").put("k", 1)
        with db._users.use("alice") as memory:
            pass
        memory._stale = why == "to be opened again"
        interrupt = Interrupt(lambda code: code is inspect.unwrap(function).__code__, 1)
        with interrupt.within():
            match why:
                case "to make room":
                    db.user("bob").put("k", 1)
                case "to be opened again":
                    db.user("alice").put("k", 1)
                case _:
                    with db._users.exclusively("alice"):
                        pass
        assert interrupt.came
        goes_on(db)


@pytest.mark.parametrize("times", [1, 2])
def test_a_close(tmp_path: Path, times: int) -> None:
    db = EmbeddedDatabase(tmp_path / "data", config=CONFIG)
    db.user("alice").put("k", 1)
    interrupt = entering(mark_clean, times)
    with interrupt.within():
        db.close()
    assert interrupt.came
    db.close()
    with EmbeddedDatabase(tmp_path / "data", config=CONFIG) as again:
        assert again.user("alice").get("k") == 1


class InterruptAsItReturns(Interrupt):
    """Raises `KeyboardInterrupt` in a function that was just called, or as what it calls of C returns."""

    def _profile(self, frame: FrameType, event: str, _: Any) -> None:
        if event in ("call", "c_return") and self._left > 0 and self._chosen(frame.f_code):
            caller = frame.f_back
            while caller is not None:
                if caller.f_code.co_name in IN_ORDER:
                    return
                caller = caller.f_back
            self._left -= 1
            if self._left == 0:
                raise KeyboardInterrupt

    @contextmanager
    def within(self) -> Iterator[None]:
        sys.setprofile(self._profile)
        try:
            yield
        finally:
            sys.setprofile(None)


def test_who_listens_is_interrupted_as_it_takes_the_lock(db: EmbeddedDatabase) -> None:
    """Every commit takes it as well, as it is shown."""
    db.user("alice").put("k", 0)
    for times in range(1, 20):
        interrupt = InterruptAsItReturns(in_a_wait, times)
        with db._users.use("alice") as memory, suppress(KeyboardInterrupt), interrupt.within():
            memory.subscribe(print)
        goes_on(db)
        if not interrupt.came:
            break


def test_who_waits_for_the_calls_on_a_user_is_interrupted_as_it_takes_the_lock(
    db: EmbeddedDatabase,
) -> None:
    """Every call on any user takes it as well."""
    db.user("alice").put("k", 1)
    slots = db._users._slots
    slot = slots.find("alice")
    assert slot is not None
    assert free_after_each_interrupt(
        lambda: slots.wait_for_calls(slot), lambda: slots.find("alice")
    )
    slot.closing = False
    goes_on(db)


@pytest.mark.parametrize("is_new", [False, True])
def test_an_opening_wherever_something_returns(db: EmbeddedDatabase, is_new: bool) -> None:
    """Somebody still has the traceback, and with it what was open then."""
    db.user("alice").put("k", 1)

    def opening(code: CodeType) -> bool:
        name = code.co_name
        chosen = code.co_filename.endswith(("engine/slots.py", "engine/opener.py"))
        chosen |= name == "_loaded" or code.co_qualname.startswith("KeptIndex.")
        return chosen and code.co_filename.startswith(PACKAGE) and name not in IN_ORDER

    for times in range(1, 200):
        user = f"{'new' if is_new else 'alice'}{times if is_new else ''}"
        with db._users.exclusively("alice"):
            pass
        interrupt = InterruptAsItReturns(opening, times)
        held: BaseException | None = None
        try:
            with interrupt.within(), db._users.use(user, create=is_new):
                pass
        except KeyboardInterrupt as error:
            held = error
        if not interrupt.came:
            break
        with db._users.use(user, create=is_new):
            pass
        slot = db._users._slots.find(user)
        assert slot is not None
        assert (slot.users, slot.calls) == (0, 0)
        assert held is not None
        del held
    assert times > 20


def test_a_write_that_comes_into_the_queue(db: EmbeddedDatabase) -> None:
    db.user("alice").put("k", 1)

    def queueing(code: CodeType) -> bool:
        return code.co_name == "_enqueue" and code.co_filename.startswith(PACKAGE)

    for times in range(1, 20):
        interrupt = InterruptAsItReturns(queueing, times)
        with suppress(KeyboardInterrupt), interrupt.within():
            db.user("alice").put("k", 0)
        if not interrupt.came:
            break
        goes_on(db)
        with db._users.use("alice") as memory:
            assert memory._writer._queued_bytes == 0
    assert times > 2


class InterruptAtABytecode(Interrupt):
    """Raises `KeyboardInterrupt` before the n-th bytecode of some functions."""

    def _trace(self, frame: FrameType, event: str, _: Any) -> Any:
        if event == "call" and not self._chosen(frame.f_code):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode" and self._left > 0:
            self._left -= 1
            if self._left == 0:
                raise KeyboardInterrupt
        return self._trace


@NEEDS_NATIVE
def test_a_commit_of_the_edge_at_each_bytecode(db: EmbeddedDatabase) -> None:
    """What its one call has committed is found out by who commits next."""
    filled(db, 3)
    door = db.user("alice").stream("door", space="cam")
    names = {"NativeCommit.run", "Writes.write_ready.<locals>.once"}
    passed: set[str] = set()

    def committing(code: CodeType) -> bool:
        passed.add(code.co_qualname)
        return code.co_qualname in names

    stored = 0
    for times in range(1, 1000):
        door.write(clip(0, epoch=2 * times))  # from which it is known what the store has
        interrupt = InterruptAtABytecode(committing, times)
        with interrupt.within():
            door.write(clip(0, epoch=2 * times + 1))
        if not interrupt.came:
            break
        goes_on(db)
        again, once_more = (door.write(clip(0, epoch=2 * times + 1)) for _ in range(2))
        assert (once_more.clip_id, once_more.duplicate) == (again.clip_id, True)
        stored += again.duplicate
    assert names <= passed
    assert 0 < stored < times - 1, "before the commit, and behind it"


def test_the_way_of_a_group_as_what_it_calls_returns(db: EmbeddedDatabase) -> None:
    """However it ends, who waits for it is told: by calls of C alone, which have done it when they are interrupted."""
    filled(db, 3)

    def on_its_way(code: CodeType) -> bool:
        caller = sys._getframe(2).f_back
        return code.co_qualname == "Writer._take_through" or (
            code.co_filename == threading.__file__
            and caller is not None
            and caller.f_code.co_qualname == "Writer._take_through"
        )

    for times in range(1, 100):
        interrupt = InterruptAsItReturns(on_its_way, times)
        with suppress(KeyboardInterrupt), interrupt.within():
            db.user("alice").put("k", 0)
        if not interrupt.came:
            break
        goes_on(db)
    assert times > 5
    assert seqs(db) == [0, 1, 2]


def test_who_is_interrupted_as_it_waits_for_the_disk_is_held_by_nobody(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all its clips, until somebody writes to that user again."""
    filled(db, 3)
    is_written, goes = threading.Event(), threading.Event()
    write = Environment.write

    def slow(self: Environment, *args: Any, **kwargs: Any) -> Any:
        args[2]()  # nothing is left but to wait for the disk
        is_written.set()
        assert goes.wait(60)
        return write(self, *args, **kwargs)

    first = threading.Thread(target=db.user("alice").put, args=("k", 0), daemon=True)
    interrupt = entering(News.wait)
    with monkeypatch.context() as patched, db._users.use("alice") as memory:
        patched.setattr(Environment, "write", slow)
        first.start()
        assert is_written.wait(60)
        with interrupt.within():
            db.user("alice").stream("door").write(clip(3))
        waits = memory._writer._next
        goes.set()
        first.join(60)
    assert interrupt.came
    assert waits is None
    goes_on(db)
