"""An encrypted directory as a whole: what is in its files, who opens it, what erasure leaves."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import pytest

import memdb
from memdb import (
    Clip,
    DataLoss,
    FailedPrecondition,
    InvalidArgument,
    Keyframe,
    MemdbError,
    SoundEvent,
    Utterance,
    failpoints,
)
from memdb.cli.main import main
from memdb.clock import ManualClock
from memdb.engine.database import EmbeddedDatabase
from memdb.failpoints import FailpointError
from memdb.store import cipher
from memdb.store.directory import DataDirectory
from memdb.store.keyring import KeyRing
from memdb.store.masterkey import read_marker
from memdb.store.rotation import rotate_master_key
from tests.unit.engine.conftest import CONFIG, DIM, SECOND_NS

OLD, NEW, OTHER = b"o" * 32, b"n" * 32, b"x" * 32
MARKS = [f"MARK{number:02}-as-it-was-said" for number in range(14)]


def key_file(folder: Path, key: bytes = OLD) -> str:
    path = folder / f"{key[:1].decode()}.key"
    path.touch(mode=0o600)
    path.write_text(key.hex())
    return str(path)


def opened(folder: Path, key: bytes | None = OLD, data: str = "data") -> EmbeddedDatabase:
    name = "" if key is None else key_file(folder, key)
    return EmbeddedDatabase(
        folder / data, config=replace(CONFIG, master_key_file=name), clock=ManualClock()
    )


def speaking_clip(seq: int) -> Clip:
    """Markers in every part that takes bytes."""
    start_ns = seq * 10 * SECOND_NS
    floats = np.frombuffer((MARKS[0] * 9).encode()[: 8 * DIM * 2], "<f2").reshape(8, DIM)
    return Clip(
        seq=seq,
        start_ns=start_ns,
        end_ns=start_ns + 10 * SECOND_NS,
        global_memory=np.frombuffer(MARKS[1].encode()[: 2 * DIM] * 2, "<f4")[:DIM],
        short_memory=floats,
        transcript=(Utterance(start_ns, start_ns + 1, MARKS[2], speaker=MARKS[3]),),
        events=(SoundEvent(start_ns, start_ns + 1, MARKS[4], 0.5),),
        keyframes=(Keyframe(start_ns, MARKS[5].encode() * 40),),
        labels={MARKS[6]: MARKS[7]},
    )


def filled(db: EmbeddedDatabase, user_id: str = MARKS[8]) -> None:
    db.create_space(MARKS[9], dim=DIM)
    user = db.user(user_id)
    user.stream("door", space=MARKS[9]).write_many([speaking_clip(seq) for seq in range(20)])
    user.remember(MARKS[10], key=MARKS[11])
    user.put(MARKS[12], {"said": MARKS[2]})
    user.snapshot(MARKS[13])


def found_in(folder: Path) -> list[str]:
    """The markers that stand in any file, also cut to the 16 bytes of a vector."""
    content = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    return [mark for mark in MARKS if mark.encode()[:16] in content]


@pytest.fixture
def data(folder: Path) -> Path:
    with opened(folder) as db:
        filled(db)
    return folder / "data"


def test_no_marker_is_in_any_file(folder: Path, data: Path) -> None:
    assert found_in(data) == []
    # The search finds them where they are: the same in a plain directory.
    with opened(folder, None, "plain") as db:
        filled(db)
    assert found_in(folder / "plain") == MARKS


def test_it_answers_as_before_when_it_is_opened_again(folder: Path, data: Path) -> None:
    with opened(folder) as db:
        user = db.user(MARKS[8])
        assert db.users() == [MARKS[8]]
        assert [space.name for space in db.spaces()] == [MARKS[9]]
        first = user.clips(limit=1)[0]
        assert (first.transcript[0].text, dict(first.labels)) == (MARKS[2], {MARKS[6]: MARKS[7]})
        assert user.get(MARKS[12]) == {"said": MARKS[2]}
        assert [hit.fact.text for hit in user.recall(MARKS[10]).hits if hit.fact] == [MARKS[10]]
        assert [snapshot.name for snapshot in user.snapshots()] == [MARKS[13]]
        user.put(MARKS[12], 2)
        assert user.get(MARKS[12]) == 2
        assert user.get(MARKS[12], as_of=MARKS[13]) == {"said": MARKS[2]}
        assert db.verify().ok
    assert found_in(data) == []


def test_values_are_written_under_many_keys_of_few_values_each(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cipher, "VALUES_MAX", 7)
    for turn in range(3):
        with opened(folder) as db:
            filled(db, f"user-{turn}")
    under: Counter[bytes] = Counter()
    for path in (folder / "data" / "users").iterdir():
        with raw(path) as env, env.begin() as txn:
            with txn.cursor() as names:
                tables = [bytes(name) for name in names.iternext(values=False)]
            for table in tables:
                handle = env.open_db(table, txn=txn, create=False)
                under.update(bytes(value)[1:17] for _, value in txn.cursor(handle))
    # Values that were written over do not stand there any more, so there may be fewer, never more.
    assert max(under.values()) <= 7
    assert len(under) > 30
    with opened(folder) as db:
        assert db.verify().ok
        assert [len(db.user(f"user-{turn}").clips(limit=20)) for turn in range(3)] == [20] * 3


def test_snapshots_are_listed_by_name(folder: Path, data: Path) -> None:
    with opened(folder) as db:
        user = db.user("bob")
        user.stream("door", space=MARKS[9]).write(speaking_clip(0))
        names = [f"s{number}" for number in range(10)]
        for name in reversed(names):
            user.snapshot(name)
        assert [snapshot.name for snapshot in user.snapshots()] == names


@pytest.mark.parametrize(
    ("key", "reason"), [(None, "MASTER_KEY_REQUIRED"), (NEW, "MASTER_KEY_MISMATCH")]
)
def test_another_key_or_none_opens_nothing(
    folder: Path, data: Path, key: bytes | None, reason: str
) -> None:
    with pytest.raises(FailedPrecondition) as refused:
        opened(folder, key)
    assert (refused.value.reason, refused.value.field) == (reason, "engine.master_key_file")
    opened(folder).close()


def test_a_plain_directory_is_not_opened_as_an_encrypted_one(folder: Path) -> None:
    opened(folder, None).close()
    with pytest.raises(FailedPrecondition) as refused:
        opened(folder)
    assert refused.value.reason == "NOT_ENCRYPTED"
    opened(folder, None).close()


def test_a_lost_marker_does_not_make_it_plain(folder: Path, data: Path) -> None:
    whole = (data / "ENCRYPTION").read_bytes()
    (data / "ENCRYPTION").unlink()
    with pytest.raises(FailedPrecondition) as refused:
        opened(folder, None)
    assert refused.value.reason == "MASTER_KEY_REQUIRED"
    with pytest.raises(DataLoss) as missing:
        opened(folder)
    assert missing.value.reason == "BAD_ENCRYPTION"
    (data / "ENCRYPTION").write_bytes(whole)
    opened(folder).close()
    for place in range(len(whole)):
        damaged_marker = bytearray(whole)
        damaged_marker[place] ^= 1
        (data / "ENCRYPTION").write_bytes(damaged_marker)
        with pytest.raises(DataLoss) as flipped:
            opened(folder)
        assert flipped.value.reason == "BAD_ENCRYPTION"
    (data / "ENCRYPTION").write_bytes(b"mdbe\x01\x01short")
    with pytest.raises(DataLoss) as damaged:
        opened(folder)
    assert damaged.value.reason == "BAD_ENCRYPTION"


def test_the_commands_take_the_key(
    folder: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(data)]) == 1
    assert "MASTER_KEY_REQUIRED" in capsys.readouterr().err
    assert main(["verify", str(data), "--master-key-file", key_file(folder)]) == 0
    with closing(memdb.open(data, master_key_file=key_file(folder))) as db:
        assert db.users() == [MARKS[8]]


def test_a_key_file_of_a_name_that_no_file_can_have(folder: Path) -> None:
    with pytest.raises(InvalidArgument) as refused:
        memdb.open(folder / "data", master_key_file="\ud800")
    assert refused.value.reason == "BAD_PATH"
    assert not (folder / "data").exists()


@pytest.mark.parametrize("given", ["", b"k" * 32, 7])
def test_a_key_file_without_a_name_is_not_taken_for_none(folder: Path, given: Any) -> None:
    with pytest.raises(InvalidArgument) as refused:
        memdb.open(folder / "data", master_key_file=given)
    assert "kkk" not in str(refused.value)
    assert (refused.value.reason, refused.value.field) == ("BAD_MASTER_KEY", "master_key_file")
    assert not (folder / "data").exists()


def raw(path: Path) -> lmdb.Environment:
    return lmdb.open(str(path), max_dbs=32, map_size=1 << 26, create=False)


def user_folder(data: Path, user_id: str = MARKS[8], key: bytes = OLD) -> Path:
    directory = DataDirectory(data, master_key=key)
    directory.close()
    return directory.user_path(user_id)


def test_a_flipped_byte_is_damage_that_names_its_place(folder: Path, data: Path) -> None:
    with raw(user_folder(data)) as env, env.begin(write=True) as txn:
        table = env.open_db(b"short_memory", txn=txn, create=False)
        with txn.cursor(table) as cursor:
            assert cursor.first()
            key, value = bytes(cursor.key()), bytearray(cursor.value())
        value[len(value) // 2] ^= 1
        txn.put(key, bytes(value), db=table)
    with opened(folder) as db:
        user = db.user(MARKS[8])
        clip = user.clips(limit=1)[0]
        with pytest.raises(DataLoss) as damage:
            _ = user.clip(clip.id, with_short_memory=True).short_memory
        assert (damage.value.reason, damage.value.field) == (
            "CHECKSUM",
            f"short_memory/{key.hex()}",
        )
        assert f"short_memory/{key.hex()}" in str(db.verify().discrepancies)


@pytest.mark.parametrize("where", ["key", "table", "user"])
def test_a_value_that_was_moved_is_damage(folder: Path, data: Path, where: str) -> None:
    with opened(folder) as db:
        filled(db, "bob")
    here = user_folder(data)
    there = user_folder(data, "bob") if where == "user" else here
    with raw(here) as env, env.begin() as txn:
        table = env.open_db(b"clips", txn=txn, create=False)
        with txn.cursor(table) as cursor:
            assert cursor.first()
            first = bytes(cursor.key())
            assert cursor.next()
            other, moved = bytes(cursor.key()), bytes(cursor.value())
    target, key = {
        "key": (b"clips", first),
        "table": (b"vectors", None),
        "user": (b"clips", other),
    }[where]
    with raw(there) as env, env.begin(write=True) as txn:
        table = env.open_db(target, txn=txn, create=False)
        with txn.cursor(table) as cursor:
            assert cursor.first()
            key = key or bytes(cursor.key())
        txn.put(key, moved, db=table)
    with opened(folder) as db:
        user = db.user("bob" if where == "user" else MARKS[8])
        gaps = [gap for info in user.streams() for gap in user.stream(info.name).gaps()]
        assert [gap.reason for gap in gaps] == ["damaged"]
        assert all(clip.seq != gaps[0].first_seq for clip in user.clips(limit=20))
        found = {item.where: item.what for item in db.verify().discrepancies}
        assert "CHECKSUM" in found[f"{target.decode()}/{key.hex()}"]


def test_a_copy_is_unreadable_once_its_user_is_erased(folder: Path, data: Path) -> None:
    with opened(folder) as db:
        filled(db, "bob")
    where = user_folder(data, "bob")
    copy = folder / "copy"
    copy.mkdir()
    shutil.copy(where / "data.mdb", copy)
    with opened(folder) as db:
        db.user("bob").erase()
        assert db.users() == [MARKS[8]]
    assert not where.exists()
    # Put back where it was, it has no key, and there is none to give it.
    shutil.copytree(copy, where)
    with opened(folder) as db, pytest.raises(DataLoss) as lost:
        db.user("bob").clips()
    assert lost.value.reason == "KEY_MISSING"
    KeyRing(OLD).create(where, where.name)
    with opened(folder) as db, pytest.raises(DataLoss) as wrong:
        db.user("bob").clips()
    assert wrong.value.reason == "CHECKSUM"
    assert found_in(copy) == []


def test_an_erasure_destroys_the_key_before_it_removes_anything_else(
    folder: Path, data: Path
) -> None:
    with opened(folder) as db:
        failpoints.arm("erase.after_discard=error")
        with pytest.raises(FailpointError):
            db.user(MARKS[8]).erase()
        failpoints.arm("shred.after=error")
        (discarded,) = (data / "trash").iterdir()
        assert (discarded / "KEY").exists()
    with pytest.raises(FailpointError):
        opened(folder)  # what was cut short goes on
    assert [path.name for path in (data / "trash").rglob("*.mdb")] == ["data.mdb", "lock.mdb"]
    assert list((data / "trash").rglob("KEY")) == []
    failpoints.arm("")
    with opened(folder) as db:
        assert db.users() == []
    assert list((data / "trash").iterdir()) == []


def test_the_master_key_is_replaced(
    folder: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in data.rglob("data.mdb")}
    command = ["rotate-master-key", str(data), "--old-key-file", key_file(folder, OLD)]
    command += ["--new-key-file", key_file(folder, NEW)]
    assert main(command) == 0
    assert (
        capsys.readouterr().out
        == '{"data_keys": 2, "wrapped_anew": 2, "lost": [], "copies_wrapped_anew": 0}\n'
    )
    assert {path: path.read_bytes() for path in data.rglob("data.mdb")} == before
    assert main(command) == 0
    again = capsys.readouterr()
    assert (
        again.out == '{"data_keys": 2, "wrapped_anew": 0, "lost": [], "copies_wrapped_anew": 0}\n'
    )
    assert "nothing was to be done" in again.err
    with pytest.raises(FailedPrecondition) as refused:
        opened(folder, OLD)
    assert refused.value.reason == "MASTER_KEY_MISMATCH"
    with opened(folder, NEW) as db:
        assert db.verify().ok
        assert len(db.user(MARKS[8]).clips(limit=20)) == 20


def test_a_key_is_not_replaced_by_itself_nor_by_the_one_before_without_a_word(
    folder: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who gave the two the wrong way round took it for done."""
    old, new = key_file(folder, OLD), key_file(folder, NEW)
    command = ["rotate-master-key", str(data)]
    assert main([*command, "--old-key-file", old, "--new-key-file", old]) == 2
    assert "BAD_MASTER_KEY" in capsys.readouterr().err
    assert main([*command, "--old-key-file", new, "--new-key-file", old]) == 0
    assert f"{old} has the master key" in capsys.readouterr().err
    with opened(folder, OLD) as db:
        assert db.verify().ok


@pytest.mark.parametrize(
    "point", [*(f"rotation.key=error@{n}" for n in (1, 2, 3)), "rotation.before_end=error"]
)
def test_a_rotation_cut_short_goes_on(folder: Path, data: Path, point: str) -> None:
    with opened(folder) as db:
        filled(db, "bob")
    failpoints.arm(point)
    with pytest.raises(FailpointError):
        rotate_master_key(data, OLD, NEW)
    failpoints.arm("")
    assert len(read_marker(data)) == 2
    for key in (OLD, NEW):
        with pytest.raises(FailedPrecondition) as refused:
            opened(folder, key)
        assert refused.value.reason == "ROTATION_UNFINISHED"
    for wrong in ((OLD, OTHER), (OTHER, NEW)):
        with pytest.raises(MemdbError) as mismatch:
            rotate_master_key(data, *wrong)
        assert mismatch.value.reason == "MASTER_KEY_MISMATCH"
    assert rotate_master_key(data, OLD, NEW).data_keys == 3
    with opened(folder, NEW) as db:
        assert db.verify().ok
        assert len(db.user("bob").clips(limit=20)) == 20


@pytest.mark.parametrize("how", ["missing", "damaged", "unreadable"])
@pytest.mark.parametrize("cut_short", [False, True])
def test_a_lost_data_key_keeps_no_rotation_from_ending(
    folder: Path, data: Path, how: str, cut_short: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    with opened(folder) as db:
        filled(db, "bob")
        filled(db, "carol")
    lost = user_folder(data, "bob")
    key = lost / "KEY"
    whole = key.read_bytes()
    key.unlink()
    if how == "damaged":
        key.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    elif how == "unreadable":
        key.mkdir()  # read as any user, root too, it is an error of the system
    if cut_short:
        failpoints.arm("rotation.before_end=error")
        with pytest.raises(FailpointError):
            rotate_master_key(data, OLD, NEW)
        failpoints.arm("")
    command = ["rotate-master-key", str(data), "--old-key-file", key_file(folder, OLD)]
    assert main([*command, "--new-key-file", key_file(folder, NEW)]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["data_keys"], told["lost"]) == (4, [lost.name])
    reason = {"missing": "KEY_MISSING", "damaged": "BAD_KEY_FILE", "unreadable": "KEY_UNREADABLE"}
    with opened(folder, NEW) as db:
        for user in (MARKS[8], "carol"):
            assert len(db.user(user).clips(limit=20)) == 20
            assert not db.user(user).stream("door").write(speaking_clip(20)).duplicate
        with pytest.raises(DataLoss) as refused:
            db.user("bob").clips()
        assert refused.value.reason == reason[how]
        (found,) = db.verify().discrepancies
        assert (found.user, reason[how] in found.what) == ("bob", True)
    if how == "damaged":
        assert key.read_bytes() == whole[:-1] + bytes([whole[-1] ^ 1])


def test_a_rotation_that_nothing_could_open_after_is_not_begun(folder: Path, data: Path) -> None:
    key = data / "catalog" / "KEY"
    whole = key.read_bytes()
    key.write_bytes(whole[:-1])
    with pytest.raises(DataLoss) as refused:
        rotate_master_key(data, OLD, NEW)
    assert (refused.value.reason, refused.value.field) == ("BAD_KEY_FILE", "catalog/KEY")
    assert len(read_marker(data)) == 1
    key.write_bytes(whole)
    opened(folder).close()


def test_a_rotation_of_a_plain_directory_is_refused(folder: Path) -> None:
    opened(folder, None).close()
    with pytest.raises(FailedPrecondition) as refused:
        rotate_master_key(folder / "data", OLD, NEW)
    assert refused.value.reason == "NOT_ENCRYPTED"
