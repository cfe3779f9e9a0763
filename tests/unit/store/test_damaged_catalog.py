"""A damaged catalog costs spaces that nobody uses, and closes nothing."""

from __future__ import annotations

import random
import shutil
from dataclasses import replace
from pathlib import Path

import lmdb
import pytest

from memdb import DataLoss, NotFound, failpoints
from memdb.engine.database import EmbeddedDatabase
from memdb.store.schema import DATA_FILE
from memdb.store.shredding import KEY_FILE
from tests.unit.engine.conftest import CONFIG, DIM, clip, vector
from tests.unit.engine.test_encryption import OLD, key_file

USERS = [f"user-{number}" for number in range(10)]


def opened(folder: Path, key: str) -> EmbeddedDatabase:
    return EmbeddedDatabase(folder / "data", config=replace(CONFIG, master_key_file=key))


@pytest.fixture(params=[False, True], ids=["plain", "encrypted"])
def key(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of a directory with users, a space that they use and one that they do not."""
    key = key_file(tmp_path, OLD) if request.param else ""
    with opened(tmp_path, key) as db:
        db.create_space("unused", dim=3)
        db.create_space("cam", dim=DIM)
        for user in USERS:
            db.user(user).stream("door", space="cam").write(clip(1))
    return key


def looked_at(folder: Path, key: str) -> set[str]:
    """Names of spaces, where everything else is as it was."""
    with opened(folder, key) as db:
        assert db.users() == USERS
        # What was mended as it was opened is told, by this process alone.
        assert {item.where.partition("/")[0] for item in db.verify().discrepancies} <= {"catalog"}
        assert db.scrub(1 << 30).damaged == []
        assert db.space("cam").dim == DIM
        for user in (USERS[0], USERS[-1]):
            (hit,) = db.user(user).ground(vector(1), limit=5).hits
            assert hit.clip.seq == 1
        return {space.name for space in db.spaces()}


def test_one_value_that_is_damaged_costs_nothing_else(tmp_path: Path, key: str) -> None:
    whole = (tmp_path / "data" / "catalog" / DATA_FILE).read_bytes()
    chosen = random.Random(7)
    places = [chosen.randrange(len(whole)) for _ in range(12)]
    if not key:
        places += [whole.index(b"unused"), whole.index(b"user-3")]
    for case, place in enumerate(places):
        copy = tmp_path / str(case)
        shutil.copytree(tmp_path / "data", copy / "data")
        damaged = bytearray(whole)
        damaged[place] ^= 4
        (copy / "data" / "catalog" / DATA_FILE).write_bytes(damaged)
        found = looked_at(copy, key)
        assert found >= {"cam"}
        assert looked_at(copy, key) == found
        assert list((copy / "data" / "trash").iterdir()) == []


@pytest.mark.parametrize("how", ["zeros", "cut", "away", "no folder"])
def test_a_catalog_that_is_lost_is_made_of_what_users_say(
    tmp_path: Path, key: str, how: str
) -> None:
    file = tmp_path / "data" / "catalog" / DATA_FILE
    if how == "zeros":
        file.write_bytes(bytes(file.stat().st_size))
    elif how == "cut":
        file.write_bytes(file.read_bytes()[:5000])
    elif how == "away":
        file.unlink()
    else:
        shutil.rmtree(file.parent)
    with opened(tmp_path, key) as db:
        (told,) = db.verify().discrepancies
        assert (told.user, told.where.partition("/")[0], "anew" in told.what) == (
            "",
            "catalog",
            True,
        )
    with opened(tmp_path, key) as db:
        assert db.verify().ok
    assert looked_at(tmp_path, key) == {"cam"}
    with opened(tmp_path, key) as db:
        db.user(USERS[1]).erase()
        with pytest.raises(NotFound):
            db.user(USERS[1]).revision()
        db.create_space("unused", dim=4)
    with opened(tmp_path, key) as db:
        assert db.users() == [user for user in USERS if user != USERS[1]]
        assert [space.name for space in db.spaces()] == ["cam", "unused"]


@pytest.mark.parametrize("table", ["users", "spaces", "meta"])
def test_names_that_rot_while_it_is_open_are_told_beside_all_else(
    tmp_path: Path, key: str, table: str, caplog: pytest.LogCaptureFixture
) -> None:
    """They are in memory, so nobody reads them: the next opening would be who finds out, and spaces be lost."""
    file = tmp_path / "data" / "catalog" / DATA_FILE
    with lmdb.open(str(file.parent), max_dbs=8) as env:
        names = env.open_db(table.encode(), create=False)
        with env.begin(db=names) as txn:
            value = bytes(next(iter(txn.cursor()))[1])
    with opened(tmp_path, key) as db:
        assert db.verify().ok
        db.user(USERS[3]).stream("door", space="cam").write(clip(2))
        # Wherever it lies: freed pages may have it as well.
        with file.open("r+b") as other:
            content = other.read().replace(value, value[:-2] + b"\x55\xaa")
            other.seek(0)
            other.write(content)
        found = db.verify()
        assert found.users == len(USERS)
        assert found.clips == len(USERS) + 1
        (told,) = found.discrepancies
        assert (told.user, told.where.split("/")[:2]) == ("", ["catalog", table])
        for _ in range(3):
            assert db.scrub(1 << 30).damaged == [told]
        logged = [one for one in caplog.messages if one.startswith("the scrub found damage")]
        assert len(logged) == 1
    assert looked_at(tmp_path, key) >= {"cam"}


def test_a_damaged_catalog_that_cannot_be_made_anew_stays(tmp_path: Path, key: str) -> None:
    catalog = tmp_path / "data" / "catalog"
    (catalog / DATA_FILE).write_bytes(b"damaged" * 10_000)
    failpoints.arm("create.before_rename=error")
    with pytest.raises(failpoints.FailpointError):
        opened(tmp_path, key)
    failpoints.arm("")
    assert (catalog / DATA_FILE).read_bytes() == b"damaged" * 10_000
    assert looked_at(tmp_path, key) == {"cam"}


def test_without_its_data_key_a_catalog_is_not_taken_for_damaged(tmp_path: Path) -> None:
    key = key_file(tmp_path, OLD)
    with opened(tmp_path, key) as db:
        db.create_space("unused", dim=3)
    file = tmp_path / "data" / "catalog" / KEY_FILE
    whole = file.read_bytes()
    file.unlink()
    with pytest.raises(DataLoss) as refused:
        opened(tmp_path, key)
    assert refused.value.reason == "KEY_MISSING"
    file.write_bytes(whole)
    with opened(tmp_path, key) as db:
        assert db.space("unused").dim == 3


def test_a_damaged_key_of_directory_names_is_told_and_loses_nobody(
    tmp_path: Path, key: str
) -> None:
    file = tmp_path / "data" / "SECRET"
    whole = file.read_bytes()
    for place in range(0, len(whole), 5):
        file.write_bytes(bytes(byte ^ (at == place) for at, byte in enumerate(whole)))
        with pytest.raises(DataLoss) as refused:
            opened(tmp_path, key)
        assert (refused.value.reason, refused.value.field) == ("BAD_SECRET", "SECRET")
    file.write_bytes(whole)
    assert looked_at(tmp_path, key) == {"cam", "unused"}
