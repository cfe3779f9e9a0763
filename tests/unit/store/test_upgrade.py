"""A directory made anew: everything is in it, under another key or none; whatever goes wrong, the old holds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import lmdb
import pytest

from memdb import DataLoss, FailedPrecondition, failpoints
from memdb.cli.main import main
from memdb.failpoints import FailpointError
from memdb.store.directory import DataDirectory
from memdb.store.format import FormatLine
from memdb.store.masterkey import read_marker
from memdb.store.schema import FORMAT, Table
from memdb.store.swap import STAGED
from memdb.store.upgrade import Convert, Entry, upgrade
from tests.unit.engine.test_encryption import MARKS, NEW, OLD, filled, found_in, key_file, opened

POINTS = ("before_copied", "after_copied", "before_ready", "after_ready")
SWAP_POINTS = (
    "old_gone@1",
    "new_there@1",
    "old_gone@2",
    "new_there@2",
    "before_format",
    "after_format",
)
KEYS = {"plain": None, "old": OLD, "new": NEW}


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    failpoints.arm("")


def make(folder: Path, key: bytes | None) -> Path:
    with opened(folder, key) as db:
        filled(db)
        filled(db, "second")
    return folder / "data"


def content(folder: Path, key: bytes | None) -> list[object]:
    """What callers see of everything, by user."""
    seen: list[object] = []
    with opened(folder, key) as db:
        assert db.verify().ok
        for name in db.users():
            user = db.user(name)
            for clip in user.clips(limit=99):
                (short,) = user.short_memory([clip.id])
                seen.append(
                    (name, clip.id, clip.seq, clip.global_memory.tobytes(), short.tobytes())
                )
                seen.append((clip.transcript, clip.events, clip.keyframes, dict(clip.labels)))
            seen.append(
                ([fact.text for fact in user.facts()], user.get(MARKS[12]), user.revision())
            )
            seen.append([(snapshot.name, snapshot.revision) for snapshot in user.snapshots()])
    return seen


@pytest.mark.parametrize("into", KEYS)
@pytest.mark.parametrize("was", ["plain", "old"])
def test_everything_is_there_under_the_key_that_was_asked_for(
    tmp_path: Path, was: str, into: str
) -> None:
    data = make(tmp_path, KEYS[was])
    before = content(tmp_path, KEYS[was])
    secret = (data / "SECRET").read_bytes()

    report = upgrade(data, master_key=KEYS[was], new_master_key=KEYS[into])

    assert (report.format, report.environments, report.copied) == (FORMAT, 3, 3)
    assert content(tmp_path, KEYS[into]) == before
    assert (data / "SECRET").read_bytes() == secret
    assert found_in(data) == ([] if KEYS[into] else MARKS)
    assert sorted(path.name for path in data.iterdir() if path.name != "ENCRYPTION") == [
        *("FORMAT", "LOCK", "SECRET", "catalog", "trash", "users")
    ]
    assert list((data / "trash").iterdir()) == []


def test_every_data_key_is_a_new_one(tmp_path: Path) -> None:
    data = make(tmp_path, OLD)
    before = {path.relative_to(data): path.read_bytes()[5:21] for path in data.rglob("KEY")}
    upgrade(data, master_key=OLD, new_master_key=OLD)
    after = {path.relative_to(data): path.read_bytes()[5:21] for path in data.rglob("KEY")}
    assert before.keys() == after.keys()
    assert all(before[path] != after[path] for path in before)


@pytest.mark.parametrize("point", POINTS)
def test_until_it_is_decided_the_old_holds(tmp_path: Path, point: str) -> None:
    data = make(tmp_path, None)
    before = content(tmp_path, None)
    failpoints.arm(f"upgrade.{point}=error")
    with pytest.raises(FailpointError):
        upgrade(data, new_master_key=NEW)
    failpoints.arm("")
    holds = NEW if point == "after_ready" else None
    assert content(tmp_path, holds) == before
    assert not (data / STAGED).exists()


@pytest.mark.parametrize("point", SWAP_POINTS)
def test_once_it_is_decided_the_new_holds(tmp_path: Path, point: str) -> None:
    data = make(tmp_path, OLD)
    before = content(tmp_path, OLD)
    name, _, hit = point.partition("@")
    failpoints.arm(f"upgrade.{name}=error@{hit or 1}")
    with pytest.raises(FailpointError):
        upgrade(data, master_key=OLD, new_master_key=None)
    failpoints.arm("")
    if point != "after_format":
        assert (data / "FORMAT").read_bytes() == b"memdb upgrading\n"
    # The same command: it finds that all is done.
    report = upgrade(data, master_key=OLD, new_master_key=None)
    assert (report.environments, report.copied) == (3, 0)
    assert content(tmp_path, None) == before
    assert list(data.rglob("KEY")) == []


def test_it_goes_on_where_it_was_cut_short(tmp_path: Path) -> None:
    data = make(tmp_path, None)
    failpoints.arm("upgrade.before_copied=error@3")
    with pytest.raises(FailpointError):
        upgrade(data, new_master_key=NEW)
    failpoints.arm("")
    assert upgrade(data, new_master_key=NEW).copied == 1
    assert read_marker(data)


def test_what_changed_meanwhile_is_copied_again(tmp_path: Path) -> None:
    data = make(tmp_path, None)
    failpoints.arm("upgrade.before_ready=error")
    with pytest.raises(FailpointError):
        upgrade(data, new_master_key=NEW)
    failpoints.arm("")
    # As a program would that knows nothing of what is staged, and leaves it.
    (data / STAGED).rename(tmp_path / "aside")
    with opened(tmp_path, None) as db:
        db.user("second").put("late", 1)
    (tmp_path / "aside").rename(data / STAGED)
    assert upgrade(data, new_master_key=NEW).copied == 1
    with opened(tmp_path, NEW) as db:
        assert db.user("second").get("late") == 1


def test_another_plan_starts_anew(tmp_path: Path) -> None:
    data = make(tmp_path, None)
    failpoints.arm("upgrade.before_ready=error")
    with pytest.raises(FailpointError):
        upgrade(data, new_master_key=OLD)
    failpoints.arm("")
    assert upgrade(data, new_master_key=NEW).copied == 3
    assert content(tmp_path, NEW)


def renamed(table: Table, key: bytes, value: memoryview) -> list[Entry]:
    """A change of format: no snapshots any more."""
    return [] if table is Table.SNAPSHOTS else [(table, key, value)]


def test_a_newer_format_is_reached_by_copy_and_swap(tmp_path: Path) -> None:
    data = make(tmp_path, None)
    convert: Convert = renamed
    report = upgrade(data, target=FormatLine(FORMAT + 1), convert=convert)
    assert report.format == FORMAT + 1
    with pytest.raises(FailedPrecondition) as refused:
        DataDirectory(data)
    assert (refused.value.reason, refused.value.value) == ("FORMAT_NEWER", str(FORMAT + 1))
    # What was made for programs of this format, by one that only adds.
    (data / "FORMAT").write_bytes(FormatLine(FORMAT + 1, FORMAT).line())
    with opened(tmp_path, None) as db:
        assert db.user("second").snapshots() == []
        assert len(db.user("second").clips(limit=99)) == 20


def test_a_newer_format_that_opens_here_is_not_made_an_older_one(tmp_path: Path) -> None:
    data = make(tmp_path, None)
    (data / "FORMAT").write_bytes(FormatLine(FORMAT + 1, FORMAT).line())
    # What the newer one adds, and this one knows nothing of.
    user = next(data.glob("users/*"))
    with lmdb.open(str(user), max_dbs=len(Table) + 2) as added:
        table = added.open_db(b"relations")
        with added.begin(write=True, db=table) as txn:
            txn.put(b"a", b"1")
    for new_master_key in (None, NEW):
        with pytest.raises(FailedPrecondition) as refused:
            upgrade(data, new_master_key=new_master_key)
        assert (refused.value.reason, refused.value.value) == ("FORMAT_NEWER", str(FORMAT + 1))
        assert not (data / STAGED).exists()
    assert (data / "FORMAT").read_bytes() == FormatLine(FORMAT + 1, FORMAT).line()
    with lmdb.open(str(user), max_dbs=len(Table) + 2, readonly=True) as added:
        table = added.open_db(b"relations", create=False)
        with added.begin(db=table) as txn:
            assert txn.get(b"a") == b"1"


def test_a_value_that_cannot_be_decrypted_stops_it_and_changes_nothing(tmp_path: Path) -> None:
    data = make(tmp_path, OLD)
    victim = max(data.glob("users/*/data.mdb"), key=lambda path: path.stat().st_size)
    stored = bytearray(victim.read_bytes())
    stored[_end_of_a_record(victim.parent)] ^= 0xFF
    victim.write_bytes(bytes(stored))
    files = {path: path.read_bytes() for path in data.rglob("data.mdb")}
    with pytest.raises(DataLoss) as refused:
        upgrade(data, master_key=OLD, new_master_key=NEW)
    assert refused.value.reason == "CHECKSUM"
    assert {path: path.read_bytes() for path in files} == files
    with pytest.raises(FailedPrecondition):
        DataDirectory(data, master_key=NEW)


def _end_of_a_record(folder: Path) -> int:
    """Where in the file the last byte of the record of some clip lies."""
    with lmdb.open(str(folder), max_dbs=20, create=False) as env:
        table = env.open_db(b"clips", create=False)
        with env.begin() as txn, txn.cursor(table) as cursor:
            assert cursor.first()
            value = bytes(cursor.value())
    return (folder / "data.mdb").read_bytes().index(value) + len(value) - 1


def test_the_command_line_encrypts_and_decrypts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = make(tmp_path, None)
    before = content(tmp_path, None)

    def run(*more: str) -> int:
        return main(["upgrade", str(data), *more])

    old, new = key_file(tmp_path, OLD), key_file(tmp_path, NEW)
    assert run() == 0
    assert run("--encrypt-with", old) == 0
    assert content(tmp_path, OLD) == before
    assert run("--master-key-file", old, "--encrypt-with", new) == 0
    assert content(tmp_path, NEW) == before
    assert run("--master-key-file", new) == 0
    assert content(tmp_path, NEW) == before
    assert run("--master-key-file", new, "--decrypt") == 0
    assert content(tmp_path, None) == before
    capsys.readouterr()
    assert run("--master-key-file", new) == 1
    assert "made without a master key" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text",
    ["memdb", "memdb x", "memdb 1 1 1", "memdb -1", "memdb 1 x", "memdb upgrading", "", "m 1"],
)
def test_a_format_that_is_none(text: str) -> None:
    with pytest.raises(FailedPrecondition) as refused:
        FormatLine.parse(text, "dir")
    assert refused.value.reason == "NOT_A_DATABASE"


def test_a_format_says_who_may_open_it() -> None:
    for text in ("memdb 1", "memdb 1 1", f"memdb 9 {FORMAT}\n"):
        FormatLine.parse(text, "dir").check()
    with pytest.raises(FailedPrecondition):
        FormatLine.parse(f"memdb 9 {FORMAT + 1}", "dir").check()


@pytest.mark.parametrize("was", ["plain", "old"])
def test_what_an_erasure_emptied_does_not_stop_it(tmp_path: Path, was: str) -> None:
    with opened(tmp_path, KEYS[was]) as db:
        filled(db)
        user = db.user(db.users()[0])
        user.stream("other", space=user.streams()[0].space).create()
        path = db._directory.user_path(user.id)
    # The key of a row of the ledger is hit: an erasure cannot tell whose it is, and empties it.
    with lmdb.open(str(path), max_dbs=32) as env:
        ledger = env.open_db(Table.LEDGER.encode(), create=False)
        with env.begin(write=True, db=ledger) as txn:
            key, value = next(iter(txn.cursor()))
            txn.delete(key)
            txn.put(key[:-1] + b"\x63", value)
    with opened(tmp_path, KEYS[was]) as db:
        db.user(user.id).stream("other").erase()
    report = upgrade(tmp_path / "data", master_key=KEYS[was], new_master_key=NEW)
    assert report.copied == 2
    with opened(tmp_path, NEW) as db:
        assert db.user(user.id).clips()
