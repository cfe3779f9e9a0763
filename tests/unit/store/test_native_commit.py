"""A commit made by the native edge in one call is, to the byte, what py-lmdb would have made."""

from __future__ import annotations

import ctypes
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import lmdb
import pytest

from memdb import failpoints, native
from memdb.config import EngineConfig
from memdb.errors import Internal, MemdbError, ResourceExhausted, Unavailable
from memdb.store import native_commit, schema, writes
from memdb.store.creation import create_environment
from memdb.store.environment import Environment
from memdb.store.keyring import KeyRing
from memdb.store.native_commit import ReadyCommit
from memdb.store.schema import DATA_FILE, META_COUNTERS, USER_TABLES, Table
from memdb.store.staging import Entries, ready_commit, write_into
from memdb.store.transaction import Transaction
from tests.both_edges import NEEDS_NATIVE

CONFIG = EngineConfig(map_bytes_initial=1 << 20, map_bytes_max=8 << 20, disk_free_bytes_min=1 << 20)

pytestmark = NEEDS_NATIVE

Make = Callable[[bool], Environment]


def nobody() -> None:
    """No native commit."""


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """An environment, and who commits to it from now on."""
    assert native_commit.native_commit() is not None, "the locked py-lmdb is the one that is known"

    def made(is_native: bool) -> Environment:
        who = native_commit.native_commit if is_native else nobody
        monkeypatch.setattr(writes, "native_commit", who)
        folder = tmp_path / ("native" if is_native else "python")

        def fill(txn: Transaction) -> None:
            txn.put(Table.META, META_COUNTERS, b"0")

        return create_environment(folder, USER_TABLES, CONFIG, fill, None)

    return made


def write(environment: Environment, entries: Entries, counters: bytes = b"0") -> list[str]:
    """What was called: nothing but the commit where it was made at once."""
    called: list[str] = []

    def change(txn: Transaction) -> tuple[bool, None]:
        called.append("change")
        if bytes(txn.get(Table.META, META_COUNTERS) or b"") != counters:
            raise Unavailable("stale", reason="INDEX_BROKEN")
        write_into(txn, entries)
        return True, None

    size = sum(len(value) for of in entries.values() for value in of.values())
    environment.write_ready(
        ready_commit(entries, counters), change, size, lambda: called.append("committing")
    )
    return called


def held(environment: Environment) -> dict[Table, list[tuple[bytes, bytes]]]:
    with environment.read() as txn:
        return {
            table: [(key, bytes(value)) for key, value in txn.scan(table)] for table in USER_TABLES
        }


def group(rng: random.Random, turn: int) -> Entries:
    """As a commit has them: several tables, some keys of which are there already."""
    entries: Entries = {}
    for table in rng.sample((Table.CLIPS, Table.SHORT_MEMORY, Table.LEDGER, Table.VECTORS), 3):
        its = entries[table] = {}
        for _ in range(rng.randint(1, 12)):
            value = rng.randbytes(rng.choice((0, 1, 40, 2_000, 5_000, 30_000)))
            its[b"%06d" % rng.randrange(200)] = memoryview(value) if rng.random() < 0.5 else value
    entries[Table.META] = {META_COUNTERS: b"%d" % (turn + 1)}
    entries[Table.LOG] = {schema.revision_key(turn): rng.randbytes(50)}
    return entries


def test_random_groups_make_the_same_file(make: Make) -> None:
    found = []
    for is_native in (False, True):
        environment, rng = make(is_native), random.Random(5)
        for turn in range(40):
            called = write(environment, group(rng, turn), b"%d" % turn)
            assert called[0] == ("committing" if is_native else "change")
        environment.close()
        found.append((environment.path / DATA_FILE).read_bytes())
    assert found[0] == found[1]


def test_an_encrypted_environment_is_left_to_python(tmp_path: Path) -> None:
    environment = create_environment(
        tmp_path / "env", USER_TABLES, CONFIG, lambda _: None, KeyRing(b"m" * 32)
    )
    entries: Entries = {Table.CLIPS: {b"one": b"1"}}
    ran: list[int] = []

    def change(txn: Transaction) -> tuple[bool, None]:
        ran.append(1)
        write_into(txn, entries)
        return True, None

    environment.write_ready(ready_commit(entries, b""), change)
    assert ran == [1]
    assert held(environment)[Table.CLIPS] == [(b"one", b"1")]
    environment.close()


def told(environment: Environment, entries: Entries, counters: bytes) -> tuple[object, ...]:
    with pytest.raises(MemdbError) as refused:
        write(environment, entries, counters)
    cause = refused.value.__cause__
    return (
        type(refused.value),
        refused.value.reason,
        str(refused.value).replace(environment.path.name, ""),
        type(cause),
        getattr(cause, "code", None),
    )


@pytest.mark.parametrize(
    ("wrong", "counters", "kind", "reason"),
    [
        ({Table.VECTORS: {b"k" * 600: b"1"}}, b"0", Unavailable, "READ_ONLY"),
        ({Table.VECTORS: {b"": b"1"}}, b"0", Unavailable, "READ_ONLY"),
        ({Table.LOG: {schema.revision_key(1): b"1"}}, b"0", Internal, "KEY_ORDER"),
        ({Table.SHORT_MEMORY: {b"large": bytes(9 << 20)}}, b"0", ResourceExhausted, "QUOTA"),
        ({}, b"1", Unavailable, "INDEX_BROKEN"),
    ],
    ids=["long key", "no key", "order", "quota", "stale"],
)
def test_what_is_refused_in_the_middle_leaves_nothing(
    wrong: Entries, counters: bytes, kind: type[MemdbError], reason: str, make: Make
) -> None:
    entries: Entries = {Table.CLIPS: {b"before": b"1"}, **wrong, Table.LEDGER: {b"after": b"1"}}
    found = []
    for is_native in (False, True):
        environment = make(is_native)
        write(environment, {Table.LOG: {schema.revision_key(7): b"there"}})
        found.append((told(environment, entries, counters), held(environment)))
        environment.close()
    assert found[0] == found[1]
    assert found[1][0][:2] == (kind, reason)
    assert not found[1][1][Table.CLIPS]


def test_a_map_that_is_full_grows(make: Make) -> None:
    environment = make(True)
    value = bytes(3 << 20)
    write(environment, {Table.CLIPS: {b"first": b"1"}, Table.SHORT_MEMORY: {b"large": value}})
    assert held(environment)[Table.SHORT_MEMORY] == [(b"large", value)]
    environment.close()


@pytest.mark.parametrize(
    ("refused_by", "said"),
    [
        (("mdb_txn_commit", 5, "Input/output error"), "mdb_txn_commit: Input/output error"),
        (True, "the system refused a commit, and there was no memory to say why"),
    ],
)
def test_what_the_system_refuses_ends_the_writes(
    make: Make, monkeypatch: pytest.MonkeyPatch, refused_by: object, said: str
) -> None:
    """As py-lmdb's own error would: what the kernel has of the commit nobody knows."""
    environment = make(True)
    puts = native_commit.native_commit()
    assert puts is not None

    class Broken:
        def run(self, *_: object) -> object:
            return refused_by

    monkeypatch.setattr(puts, "_commit", Broken())
    with pytest.raises(Unavailable) as refused:
        write(environment, {Table.CLIPS: {b"one": b"1"}})
    assert refused.value.reason == "READ_ONLY"
    assert str(refused.value.__cause__) == said
    assert environment.is_read_only
    environment.close()


def test_what_the_system_refuses_is_told_without_memory(tmp_path: Path) -> None:
    """Once it was refused nothing else is told, or whoever commits next would do as if nothing had been."""
    testcapi = pytest.importorskip("_testcapi")
    import memdb_edge

    module = native_commit._known()
    assert module is not None
    assert module.__file__ is not None
    library, process = ctypes.CDLL(module.__file__), ctypes.CDLL(None)
    functions = {name: library[symbol] for name, symbol in native_commit._FUNCTIONS.items()}
    functions["begin"] = process["getpid"]  # no code of success
    addresses = {
        name: ctypes.cast(function, ctypes.c_void_p).value or 0
        for name, function in functions.items()
    }
    table = ctypes.addressof(ctypes.c_char.in_dll(library, native_commit._TABLE))
    commit = memdb_edge.Commit(lmdb.Environment, table, **addresses)
    told: list[object] = []
    with lmdb.open(str(tmp_path / "a"), max_dbs=2) as env:
        tables: list[native_commit.Table] = [(b"a", {b"1": b"1"}, False)]
        while not told or not isinstance(told[-1], tuple):
            outcome: object = None
            testcapi.set_nomemory(len(told), 0)
            try:
                outcome = commit.run(env, (b"a", b"known", b"1"), tables)
            except MemoryError:
                pass
            finally:
                testcapi.remove_mem_hooks()
            told.append(outcome)
    first = told.index(True)
    assert told[:first] == [None] * first
    assert told[first:-1] == [True] * (len(told) - 1 - first)
    assert told[-1] == ("mdb_txn_begin", os.getpid(), os.strerror(os.getpid()))


def test_failpoints_are_passed(make: Make) -> None:
    environment = make(True)
    for name, there in (("commit.before", []), ("commit.after", [(b"one", b"1")])):
        failpoints.arm(f"{name}=error")
        try:
            with pytest.raises(failpoints.FailpointError):
                write(environment, {Table.CLIPS: {b"one": b"1"}})
        finally:
            failpoints.arm("")
        assert held(environment)[Table.CLIPS] == there
    environment.close()


def test_nothing_but_an_open_environment_is_touched(tmp_path: Path) -> None:
    commit = native_commit.native_commit()
    assert commit is not None
    with lmdb.open(str(tmp_path / "a"), max_dbs=2) as env:
        table = env.open_db(b"a")
        with env.begin(write=True) as txn:
            txn.put(b"known", b"1", db=table)
            with pytest.raises(TypeError):
                commit.path(txn)  # type: ignore[arg-type]
        known = (b"a", b"known", b"1")
        with pytest.raises(TypeError):
            commit.run(env, ReadyCommit(known, [(b"a", {b"1": "text"}, False)]))  # type: ignore[dict-item]
        with pytest.raises(BufferError):
            commit.run(env, ReadyCommit(known, [(b"a", {b"1": memoryview(b"1234")[::2]}, False)]))
        assert env.stat()["entries"] == 1
    with pytest.raises(ValueError, match="not open for writing"):
        commit.path(env)
    with (
        lmdb.open(str(tmp_path / "a"), readonly=True) as env,
        pytest.raises(ValueError, match="not open for writing"),
    ):
        commit.path(env)
    with (
        lmdb.open(str(tmp_path / "b"), lib_version=1) as env,
        pytest.raises(ValueError, match="another LMDB"),
    ):
        commit.path(env)


@pytest.mark.parametrize(
    ("name", "value", "is_said"),
    [
        ("_RELEASE", "3.0.1", False),
        ("_ENGINE", (0, 9, 37), False),
        ("_TABLE", "lmdb_api_v10", True),
        ("_TABLE", "lmdb_api_v11", True),
        ("_FUNCTIONS", {**native_commit._FUNCTIONS, "put": "mdb09_gone"}, True),
        ("_FUNCTIONS", {**native_commit._FUNCTIONS, "put": "mdb09_get"}, True),
    ],
)
def test_what_is_not_known_is_left_to_python(
    name: str,
    value: object,
    is_said: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(native_commit, name, value)
    native_commit.native_commit.cache_clear()
    try:
        assert native_commit.native_commit() is None
    finally:
        native_commit.native_commit.cache_clear()
    assert len(caplog.records) == is_said


def test_where_it_cannot_be_tried_it_is_not_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "memfd_create", full)
    native_commit.native_commit.cache_clear()
    try:
        assert native_commit.native_commit() is None
    finally:
        native_commit.native_commit.cache_clear()
    assert "Too many open files" in caplog.records[0].getMessage()


def test_without_the_edge_python_commits(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = make(True)
    monkeypatch.setitem(sys.modules, native.MODULE, None)
    native.why_absent.cache_clear()
    native_commit.native_commit.cache_clear()
    try:
        assert native_commit.native_commit() is None
        assert write(environment, {Table.CLIPS: {b"one": b"1"}})[0] == "change"
        assert held(environment)[Table.CLIPS] == [(b"one", b"1")]
    finally:
        native.why_absent.cache_clear()
        native_commit.native_commit.cache_clear()
    environment.close()


_WRITERS = """
import sys, threading, time
import numpy as np
import memdb
from memdb import Clip

db = memdb.open(sys.argv[1])
db.create_space("s", dim=4, model="m")
user = db.user("a")
user.put("made", 1)

def work(number):
    stream = user.stream(f"camera-{number}", space="s")
    for seq in range(1_000_000):
        stream.write(Clip(seq=seq, start_ns=seq, end_ns=seq + 1, global_memory=np.ones(4, "f4")))

for number in range(8):
    threading.Thread(target=work, args=(number,), daemon=True).start()
while user.revision() < 40:
    time.sleep(0.01)
"""


def test_a_program_may_end_while_its_threads_commit(tmp_path: Path) -> None:
    """They come back from the commit to an interpreter that is no more."""
    for turn in range(3):
        done = subprocess.run(
            [sys.executable, "-c", _WRITERS, str(tmp_path / str(turn))],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")


_FORKING = """
import ctypes, os, signal, sys, threading
import lmdb
import memdb_edge
from memdb.store import native_commit

module = native_commit._known()
library = ctypes.CDLL(module.__file__)
parent = os.getpid()
begun, go = threading.Event(), threading.Event()

@ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_void_p)
def begin(*_):
    if os.getpid() == parent:
        begun.set()
        go.wait()
    return 5

functions = {name: library[symbol] for name, symbol in native_commit._FUNCTIONS.items()}
functions["begin"] = begin
addresses = {name: ctypes.cast(one, ctypes.c_void_p).value for name, one in functions.items()}
table = ctypes.addressof(ctypes.c_char.in_dll(library, native_commit._TABLE))
commit = memdb_edge.Commit(lmdb.Environment, table, **addresses)
env = lmdb.open(sys.argv[1])

def run():
    return commit.run(env, (b"a", b"known", b"1"), [])[:2]

thread = threading.Thread(target=run)
thread.start()
begun.wait()
pid = os.fork()
if not pid:
    signal.alarm(20)  # as it is, for who waits for the other: that ends it
    os._exit(run() != ("mdb_txn_begin", 5))
_, status = os.waitpid(pid, 0)
go.set()
thread.join()
sys.exit(status != 0)
"""


def test_a_child_waits_for_nobody_who_commits_in_its_parent(tmp_path: Path) -> None:
    """That thread is not there."""
    done = subprocess.run(
        [sys.executable, "-c", _FORKING, str(tmp_path / "a")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
