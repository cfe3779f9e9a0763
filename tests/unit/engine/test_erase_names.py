"""What was erased has no name any more, in no file."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

import memdb.store.environment
import memdb.store.writes
from memdb import NotFound, ResourceExhausted, Retention, Unavailable
from memdb.clock import ManualClock
from memdb.engine.database import EmbeddedDatabase
from memdb.store.records import LogEntry, LogRecord, pack, unpack
from memdb.store.schema import Table
from memdb.store.transaction import Transaction
from tests.unit.engine.conftest import CONFIG, clip

STREAM = "zebra-cam-xyz"
USER = "yolanda-the-user"


def in_files(folder: Path, name: str) -> list[str]:
    """Files in whose bytes or name a name stands."""
    raw = name.encode()
    return [
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if name in path.name or (path.is_file() and raw in path.read_bytes())
    ]


def opened(folder: Path, clock: ManualClock) -> EmbeddedDatabase:
    return EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock)


def made(folder: Path, clock: ManualClock) -> None:
    """Two users with two streams each."""
    with opened(folder, clock) as db:
        db.create_space("cam", dim=8)
        for name in ("alice", USER):
            user = db.user(name)
            for stream in ("door", STREAM):
                handle = user.stream(stream, space="cam")
                handle.write_many([clip(seq) for seq in range(20)])
                handle.set_retention(Retention(max_clips=15))
                handle.set_retention(Retention(max_clips=30, hold=True))
                handle.set_retention(Retention(max_clips=30))
    assert in_files(folder, STREAM)
    assert in_files(folder, USER)


def test_the_name_of_an_erased_stream_is_in_no_file(folder: Path, clock: ManualClock) -> None:
    made(folder, clock)
    with opened(folder, clock) as db:
        ids = {}
        for name in ("alice", USER):
            user = db.user(name)
            ids[name] = {info.name: info.id for info in user.streams()}
            assert len(user.stream(STREAM).erase().clip_ids) == 20
            # Nor while it is open.
            assert bool(in_files(folder, STREAM)) == (name == "alice")
            changes = list(user.watch(follow=False))
            gone = [change.key for change in changes if change.kind == "remove-stream"]
            assert gone == [ids[name][STREAM]]
            made_known = [c.stream.id if c.stream else c.key for c in changes if c.kind == "stream"]
            assert sorted(made_known) == sorted(ids[name].values())  # type: ignore[type-var]
            policies = [change.key for change in changes if change.kind == "retention"]
            assert policies == ["door"] * 3 + [ids[name][STREAM]] * 3
            again = user.stream("again", space="cam").create()
            assert again.id not in ids[name].values()
        assert ids["alice"][STREAM] != ids[USER][STREAM]
        assert db.verify().ok
    assert in_files(folder, STREAM) == []


def test_names_that_an_earlier_release_logged_go_as_well(folder: Path, clock: ManualClock) -> None:
    made(folder, clock)
    with opened(folder, clock) as db:
        with db._users.use("alice") as memory:
            no = memory.view.state.streams[STREAM].no

            def change(txn: Transaction) -> tuple[bool, None]:
                for key, stored in list(txn.scan(Table.LOG)):
                    record = unpack(Table.LOG, key, stored, LogRecord)
                    entries = tuple(
                        LogEntry(e.kind, e.no, STREAM if e.no == no else "door")
                        if e.kind == "retention"
                        else e
                        for e in record.entries
                    )
                    txn.put(Table.LOG, key, pack(key, LogRecord(record.time_ns, entries)))
                return True, None

            memory.environment.write(change)
        db.user("alice").stream(STREAM).erase()
        db.user(USER).stream(STREAM).erase()
        policies = [c.key for c in db.user("alice").watch(follow=False) if c.kind == "retention"]
        assert policies[:3] == ["door"] * 3
        assert db.verify().ok
    assert in_files(folder, STREAM) == []


def test_the_name_of_an_erased_user_is_in_no_file(folder: Path, clock: ManualClock) -> None:
    made(folder, clock)
    with opened(folder, clock) as db:
        for other in range(200):
            db.user(f"other{other}").put("x", 1)
        db.user(USER).erase()
        assert in_files(folder, USER) == []
        db.user("another").put("x", 1)
        assert len(db.users()) == 202
        assert db.verify().ok
    with opened(folder, clock) as db:
        assert len(db.users()) == 202
    assert in_files(folder, USER) == []


def test_a_name_that_cannot_be_wiped_now_is_wiped_later(
    folder: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(folder, clock)
    with opened(folder, clock) as db:
        with monkeypatch.context() as full:
            full.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
            db.user(USER).erase()
            assert in_files(folder, USER) != []
            assert db.users() == ["alice"]
            db.sweep()
        db.user("another").put("x", 1)
        db.sweep()
        assert in_files(folder, USER) == []
        assert db.users() == ["alice", "another"]


@pytest.mark.parametrize("then", ["sweep", "erase"])
@pytest.mark.parametrize("refused", ["name", "bytes"])
def test_an_erasure_that_was_refused_half_way_is_ended_by_the_next(
    folder: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, refused: str, then: str
) -> None:
    def no_room(*_: object, **_options: object) -> None:
        raise ResourceExhausted("full", reason="DISK_FULL")

    def broken(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    made(folder, clock)
    with opened(folder, clock) as db:
        with monkeypatch.context() as refusing:
            if refused == "name":
                for module in (memdb.store.environment, memdb.store.writes):
                    refusing.setattr(module, "check_disk", no_room)
            else:
                refusing.setattr("memdb.store.directory.shutil.rmtree", broken)
            with pytest.raises((ResourceExhausted, Unavailable)):
                db.user(USER).erase()
            db.sweep()  # nobody is kept from the rest of it
        assert in_files(folder, USER) != []
        if then == "sweep":
            db.sweep()
        else:
            assert db.user(USER).erase().clips == 0
        assert in_files(folder, USER) == []
        assert list((folder / "data" / "trash").iterdir()) == []
        assert db.users() == ["alice"]
        with pytest.raises(NotFound):
            db.user(USER).erase()
