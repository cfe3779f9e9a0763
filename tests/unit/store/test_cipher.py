"""The cipher of an environment: what it gives back, and everything that it must refuse."""

from __future__ import annotations

import os
import shutil
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memdb import DataLoss, FailedPrecondition, InvalidArgument, NotFound
from memdb.store import cipher
from memdb.store.cipher import OVERHEAD_BYTES, USER_NAMES, Cipher
from memdb.store.keyring import KeyRing
from memdb.store.masterkey import read_master_key
from memdb.store.schema import Table, value_key
from memdb.store.shredding import KEY_FILE, shred_key

DATA_KEY = bytes(range(32))
CIPHER = Cipher(DATA_KEY, b"i" * 16, USER_NAMES)
tables = st.sampled_from(tuple(Table))
keys = st.binary(min_size=9, max_size=64)


@given(table=tables, key=keys, value=st.binary(max_size=200))
def test_a_value_comes_back_and_is_never_stored_alike_twice(
    table: Table, key: bytes, value: bytes
) -> None:
    stored = CIPHER.seal(table, key, value)
    assert bytes(CIPHER.open(table, key, stored)) == value
    assert len(stored) == len(value) + OVERHEAD_BYTES
    assert CIPHER.seal(table, key, value) != stored


@given(key=keys, value=st.binary(max_size=64), data=st.data())
def test_any_changed_byte_is_damage(key: bytes, value: bytes, data: st.DataObject) -> None:
    stored = bytearray(CIPHER.seal(Table.FACTS, key, value))
    stored[data.draw(st.integers(0, len(stored) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(DataLoss) as damage:
        CIPHER.open(Table.FACTS, key, bytes(stored))
    assert (damage.value.reason, damage.value.field) == ("CHECKSUM", f"facts/{key.hex()}")


def test_a_value_is_bound_to_its_table_key_and_owner() -> None:
    stored = CIPHER.seal(Table.CLIPS, b"key", b"value")
    moved: dict[str, Callable[[], memoryview]] = {
        "table": lambda: CIPHER.open(Table.FACTS, b"key", stored),
        "key": lambda: CIPHER.open(Table.CLIPS, b"kez", stored),
        "key id": lambda: Cipher(DATA_KEY, b"j" * 16, USER_NAMES).open(Table.CLIPS, b"key", stored),
        "data key": lambda: Cipher(os.urandom(32), b"i" * 16, USER_NAMES).open(
            Table.CLIPS, b"key", stored
        ),
    }
    for what, opened in moved.items():
        with pytest.raises(DataLoss) as damage:
            opened()
        assert damage.value.reason == "CHECKSUM", what


@pytest.mark.parametrize("length", [0, 1, OVERHEAD_BYTES - 1])
def test_a_cut_value_is_damage(length: int) -> None:
    stored = CIPHER.seal(Table.CLIPS, b"key", b"value")
    with pytest.raises(DataLoss) as damage:
        CIPHER.open(Table.CLIPS, b"key", stored[:length])
    assert damage.value.reason == "TRUNCATED"


@given(name=st.binary(min_size=1, max_size=256), other=st.binary(min_size=1, max_size=256))
def test_names_are_hidden_the_same_way_each_time(name: bytes, other: bytes) -> None:
    hidden = CIPHER.hide(Table.SNAPSHOTS, name)
    assert hidden == CIPHER.hide(Table.SNAPSHOTS, name)
    assert CIPHER.show(Table.SNAPSHOTS, hidden) == name
    assert (CIPHER.hide(Table.SNAPSHOTS, other) == hidden) == (other == name)
    assert CIPHER.hide(Table.FACT_KEYS, name) != hidden
    with pytest.raises(DataLoss):
        CIPHER.show(Table.FACT_KEYS, hidden)
    with pytest.raises(DataLoss):
        CIPHER.show(Table.SNAPSHOTS, bytes([hidden[0] ^ 1]) + hidden[1:])


def test_versions_of_a_value_stay_beside_each_other_in_order() -> None:
    hidden = [CIPHER.hide(Table.VALUES, value_key("colour", birth)) for birth in (1, 2, 300)]
    assert hidden == sorted(hidden)
    prefix = CIPHER.hide_prefix(Table.VALUES, value_key("colour", 1)[:-8])
    assert all(key.startswith(prefix) and len(key) == len(prefix) + 8 for key in hidden)
    assert b"colour" not in b"".join(hidden)
    assert CIPHER.show(Table.VALUES, hidden[2]) == value_key("colour", 300)
    # The longest key that callers may choose still fits LMDB's 511 bytes.
    assert len(CIPHER.hide(Table.VALUES, value_key("k" * 256, 1))) <= 511


def test_keys_of_numbers_stay_as_they_are() -> None:
    for table in set(Table) - USER_NAMES:
        assert CIPHER.hide(table, b"12345678") == CIPHER.show(table, b"12345678") == b"12345678"
        assert CIPHER.hide_prefix(table, b"1234") == b"1234"


def test_threads_share_a_cipher() -> None:
    wrong: list[int] = []

    def work(number: int) -> None:
        for turn in range(300):
            key, value = b"%d.%d" % (number, turn), bytes([number]) * (turn * 50)
            if bytes(CIPHER.open(Table.CLIPS, key, CIPHER.seal(Table.CLIPS, key, value))) != value:
                wrong.append(turn)
            if CIPHER.show(Table.SNAPSHOTS, CIPHER.hide(Table.SNAPSHOTS, key)) != key:
                wrong.append(turn)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def salt_of(stored: bytes) -> bytes:
    return stored[1:17]


def test_no_key_takes_more_values_than_its_nonces_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cipher, "VALUES_MAX", 5)
    writing = Cipher(DATA_KEY, b"i" * 16, USER_NAMES)
    stored: list[tuple[bytes, bytes]] = []

    def work(number: int) -> None:
        for turn in range(101):
            key = b"%d.%d" % (number, turn)
            stored.append((key, writing.seal(Table.CLIPS, key, key)))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    under = Counter(salt_of(value) for _, value in stored)
    assert max(under.values()) == 5
    assert len(under) == 81
    reading = Cipher(DATA_KEY, b"i" * 16, USER_NAMES)
    assert all(bytes(reading.open(Table.CLIPS, key, value)) == key for key, value in stored)


def test_every_opening_writes_under_a_key_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is restored or copied goes on under the same data key, and knows of no count."""
    monkeypatch.setattr(cipher, "KEYS_KEPT", 3)
    made = [Cipher(DATA_KEY, b"i" * 16, USER_NAMES) for _ in range(8)]
    stored = [one.seal(Table.CLIPS, b"k", b"v") for one in made for _ in range(2)]
    assert len({salt_of(value) for value in stored}) == 8
    assert all(bytes(made[0].open(Table.CLIPS, b"k", value)) == b"v" for value in stored)
    assert len(made[0]._known) <= 3
    other = stored[0][:1] + salt_of(stored[2]) + stored[0][17:]
    with pytest.raises(DataLoss):
        made[0].open(Table.CLIPS, b"k", other)


def folders(tmp_path: Path, *names: str) -> list[Path]:
    made = [tmp_path / name for name in names]
    for folder in made:
        folder.mkdir()
    return made


def test_a_data_key_opens_in_its_directory_under_its_master_key_alone(tmp_path: Path) -> None:
    mine, other = folders(tmp_path, "mine", "other")
    ring = KeyRing(b"m" * 32)
    stored = ring.create(mine, "mine").seal(Table.META, b"k", b"v")
    assert (mine / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert bytes(ring.open(mine).open(Table.META, b"k", stored)) == b"v"
    (other / KEY_FILE).write_bytes((mine / KEY_FILE).read_bytes())
    for wrong, folder in ((ring, other), (KeyRing(b"n" * 32), mine)):
        with pytest.raises(DataLoss) as damage:
            wrong.open(folder)
        assert damage.value.reason == "BAD_KEY_FILE"


def test_every_byte_of_a_key_file_counts(tmp_path: Path) -> None:
    (folder,) = folders(tmp_path, "mine")
    ring = KeyRing(b"m" * 32)
    ring.create(folder, "mine")
    whole = (folder / KEY_FILE).read_bytes()
    damaged = [whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in range(len(whole))]
    for content in (*damaged, b"", whole[:-1], whole + b"\0"):
        (folder / KEY_FILE).write_bytes(content)
        with pytest.raises(DataLoss) as damage:
            ring.open(folder)
        assert damage.value.reason == "BAD_KEY_FILE"
    (folder / KEY_FILE).unlink()
    with pytest.raises(DataLoss) as missing:
        ring.open(folder)
    assert missing.value.reason == "KEY_MISSING"


def test_rewrapping_changes_the_master_key_and_nothing_else(tmp_path: Path) -> None:
    (folder,) = folders(tmp_path, "mine")
    old, new = KeyRing(b"m" * 32), KeyRing(b"n" * 32)
    old.create(folder, "mine")
    before = old.unwrap(folder)
    assert old.rewrap(folder, new) is True
    assert old.rewrap(folder, new) is False
    assert new.unwrap(folder) == before
    with pytest.raises(DataLoss):
        old.unwrap(folder)


def test_a_shredded_key_is_overwritten_as_well_as_removed(tmp_path: Path) -> None:
    (folder,) = folders(tmp_path, "mine")
    KeyRing(b"m" * 32).create(folder, "mine")
    shutil.copy(folder / KEY_FILE, folder / f".new-{KEY_FILE}-123")
    names = [path.name for path in folder.iterdir()]
    for name in names:
        os.link(folder / name, tmp_path / name)
    shred_key(folder)
    assert list(folder.iterdir()) == []
    assert len(names) == 2
    for name in names:
        assert set((tmp_path / name).read_bytes()) == {0}
    shred_key(folder)  # nothing is left to do


def written(tmp_path: Path, content: bytes, mode: int = 0o600) -> Path:
    path = tmp_path / "master.key"
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_a_master_key_is_raw_or_hexadecimal(tmp_path: Path) -> None:
    key = bytes(range(100, 132))
    for content in (key, key.hex().encode(), key.hex().upper().encode() + b"\n"):
        assert read_master_key(written(tmp_path, content)) == key


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o777])
def test_a_master_key_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(FailedPrecondition) as refused:
        read_master_key(written(tmp_path, b"k" * 32, mode))
    assert (refused.value.reason, refused.value.field) == (
        "MASTER_KEY_EXPOSED",
        "engine.master_key_file",
    )


@pytest.mark.parametrize(
    "content", [b"", b"k" * 31, b"k" * 33, b"zz" * 32, b"ab" * 31, b"\xff" * 64]
)
def test_what_is_no_master_key_is_refused_and_not_quoted(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(InvalidArgument) as refused:
        read_master_key(written(tmp_path, content))
    assert refused.value.reason == "BAD_MASTER_KEY"
    assert "kkk" not in str(refused.value)
    with pytest.raises(InvalidArgument):
        read_master_key(tmp_path)
    with pytest.raises(NotFound):
        read_master_key(tmp_path / "none")
