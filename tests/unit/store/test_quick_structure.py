"""The quick look at LMDB's structure says of every file what py-lmdb's own verifier says, word by word; and of keys
that part the children of a page, which that does not look at, where they hide an entry from a look-up."""

from __future__ import annotations

import random
import struct
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import pytest
from lmdb import verify

import memdb
from memdb import Clip
from memdb.native import is_installed
from memdb.store import ordinary_tree, quick_structure
from memdb.store.quick_structure import structure_errors

PAGE = 4096
DAMAGES = 600
VALUES = 60
OURS = ("sends look-ups past", "do not fill it")


@pytest.fixture(autouse=True, params=["native", "by levels"])
def look(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the native edge and without."""
    if request.param == "by levels":
        monkeypatch.setattr(ordinary_tree, "native_look", lambda: None)
    elif not is_installed():
        pytest.skip("there is no native edge")


@pytest.fixture(scope="module", params=[b"%05d", b"%06d"], ids=["odd", "even"])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Tables of small values, of values on pages of their own and on several, with pages that are free; those
    whose keys are of an even length are looked at level by level.
    """
    folder = tmp_path_factory.mktemp("structure")
    chosen = random.Random(1)
    with lmdb.open(str(folder), map_size=16 << 20, max_dbs=4) as env:
        tables = [env.open_db(name.encode()) for name in ("small", "large", "empty")]
        for turn in range(4):
            with env.begin(write=True) as txn:
                for number in range(60):
                    key = request.param % (turn * 40 + number)
                    txn.put(key, chosen.randbytes(chosen.randrange(200)), db=tables[0])
                    size = chosen.choice((10, 1900, 3000, 4080, 9000))
                    txn.put(key, chosen.randbytes(size), db=tables[1])
                    if number % 7 == 0:
                        txn.delete(request.param % number, db=tables[1])
    return (folder / "data.mdb").read_bytes()


def is_ours(found: str) -> bool:
    return any(words in found for words in OURS)


def theirs(folder: Path) -> list[str]:
    try:
        return list(verify.verify(str(folder)))  # type: ignore[no-untyped-call]
    except verify.VerifyError as error:
        return [str(error)]


def test_it_says_what_the_verifier_says(
    whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quick_structure, "_LEAVES_MIN", 1)
    file = tmp_path / "data.mdb"
    file.write_bytes(whole)
    assert structure_errors(file) == theirs(tmp_path) == []
    chosen = random.Random(20261128)
    pages = len(whole) // PAGE
    # Headers and ends of pointers are where structure is.
    places = np.array([page * PAGE + at for page in range(pages) for at in range(120)])
    wrong = smaller = 0
    for case in range(DAMAGES):
        content = bytearray(whole)
        match case % 4:
            case 0:
                content[chosen.choice(places)] ^= 1 << chosen.randrange(8)
            case 1:
                content[chosen.randrange(len(content))] ^= 1 << chosen.randrange(8)
            case 2:
                page, other = (chosen.randrange(pages) * PAGE for _ in range(2))
                content[page : page + PAGE] = whole[other : other + PAGE]
            case 3:
                for _ in range(8):
                    content[chosen.choice(places)] = chosen.randrange(256)
        file.write_bytes(content)
        found = structure_errors(file)
        wrong += bool(found)
        told = theirs(tmp_path)
        if any("header mp_pages" in one for one in told):
            # A value may have more pages than it needs: said otherwise, and none where its size alone is another.
            smaller += not found
            continue
        assert [one for one in found if not is_ours(one)] == told, case
    assert wrong > DAMAGES // 4, "they were damages"
    assert smaller < DAMAGES // 50


DEEP = 500


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A table whose keys are so long that it has branches below branches."""
    folder = tmp_path_factory.mktemp("deep")
    with lmdb.open(str(folder), map_size=16 << 20, max_dbs=1) as env:
        table = env.open_db(b"deep")
        with env.begin(write=True) as txn:
            for number in random.Random(3).sample(range(DEEP), DEEP):
                txn.put(deep_key(number), b"", db=table)
            for number in range(0, DEEP, 9):
                txn.delete(deep_key(number), db=table)
            assert txn.stat(table)["depth"] == 4
    return (folder / "data.mdb").read_bytes()


def deep_key(number: int) -> bytes:
    return b"%06d" % (4 * number) + bytes(400)


def parting_keys(content: bytes) -> list[int]:
    """Where the keys between the children of branch pages stand."""
    found = []
    for page in range(2 * PAGE, len(content), PAGE):
        (flags, lower) = struct.unpack_from("<HH", content, page + 10)
        if flags == 1:
            offsets = struct.unpack_from(f"<{(lower - 16) >> 1}H", content, page + 16)
            found += [page + offset + 8 for offset in offsets[1:]]
    return found


@pytest.mark.parametrize("by_levels", [True, False])
def test_a_key_that_hides_entries_from_look_ups_is_seen(
    deep: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, by_levels: bool
) -> None:
    if not by_levels:
        monkeypatch.setattr(quick_structure._QuickVerifier, "_took", lambda *_: False)
    file = tmp_path / "data.mdb"
    file.write_bytes(deep)
    assert structure_errors(file) == []
    hidden = harmless = 0
    for place in parting_keys(deep):
        # The last three digits: by as much as lies between two keys, and by more and less.
        for at, bit in ((4, 1), (5, 0), (5, 2)):
            content = bytearray(deep)
            content[place + at] ^= 1 << bit
            file.write_bytes(content)
            found = structure_errors(file)
            with lmdb.open(str(tmp_path), max_dbs=1, lock=False) as env, env.begin() as txn:
                table = env.open_db(b"deep", txn=txn)
                walked = {bytes(key) for key, _ in txn.cursor(table)}
                missed = [key for key in walked if txn.get(key, db=table) is None]
            assert bool(found) == bool(missed), (place, at, bit)
            assert not found or any(is_ours(one) or "separator" in one for one in found)
            hidden, harmless = hidden + bool(missed), harmless + (not missed)
    assert hidden > harmless > 10


def nodes_of_leaves(content: bytes) -> list[int]:
    """Where the nodes of leaves stand."""
    found = []
    for page in range(2 * PAGE, len(content), PAGE):
        (flags, lower) = struct.unpack_from("<HH", content, page + 10)
        if flags == 2:
            offsets = struct.unpack_from(f"<{(lower - 16) >> 1}H", content, page + 16)
            found += [page + offset for offset in offsets]
    return found


@pytest.mark.parametrize("by_levels", [True, False])
def test_a_node_that_states_another_size_is_seen(
    deep: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, by_levels: bool
) -> None:
    """LMDB would move its neighbours by that, and write over one, when it is removed."""
    if not by_levels:
        monkeypatch.setattr(quick_structure._QuickVerifier, "_took", lambda *_: False)
    file = tmp_path / "data.mdb"
    unseen = 0
    for place in nodes_of_leaves(deep)[8:-8:6]:
        for at in (0, 6):  # of the value, of the key
            content = bytearray(deep)
            content[place + at] ^= 1 << 2 + place % 4
            file.write_bytes(content)
            if structure_errors(file):
                unseen += not theirs(tmp_path)
            else:  # a page that is free
                with lmdb.open(str(tmp_path), max_dbs=1, lock=False) as env, env.begin() as txn:
                    table = env.open_db(b"deep", txn=txn)
                    assert all(len(key) == 406 and not value for key, value in txn.cursor(table))
    assert unseen > 40


def test_tables_of_a_user_are_looked_at_level_by_level(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = np.random.default_rng(1).standard_normal((600, 640), np.float32)
    with memdb.open(tmp_path / "db") as db:
        db.create_space("s", dim=640, model="test")
        db.user("alice").stream("cam", space="s").write_many(
            [
                Clip(seq=seq, start_ns=seq, end_ns=seq + 1, global_memory=vector)
                for seq, vector in enumerate(vectors)
            ]
        )
    (file,) = (tmp_path / "db" / "users").glob("*/data.mdb")
    seen: list[bool] = []
    real = quick_structure._QuickVerifier._took

    def noted(self: Any, db: Any) -> bool:
        took = real(self, db)
        if db.leaf_pages >= quick_structure._LEAVES_MIN:
            seen.append(took)
        return took

    monkeypatch.setattr(quick_structure._QuickVerifier, "_took", noted)
    assert structure_errors(file) == theirs(file.parent) == []
    assert len(seen) >= 2, "vectors, records"
    assert all(seen)


def test_a_tree_whose_pages_are_anothers_is_seen(whole: bytes, tmp_path: Path) -> None:
    """Two records of tables with one root: each tree is ordinary, and the second is not taken."""
    file = tmp_path / "data.mdb"
    pages = [whole[begin : begin + PAGE] for begin in range(0, len(whole), PAGE)]
    # The newest of the pages that hold the table of tables is the last that was written.
    wrong = 0
    for page in [number for number, one in enumerate(pages) if b"large" in one and b"small" in one]:
        content = bytearray(whole)
        large, small = (whole.index(word, page * PAGE) + 5 for word in (b"large", b"small"))
        content[large : large + 48] = whole[small : small + 48]
        file.write_bytes(content)
        assert structure_errors(file) == theirs(tmp_path)
        wrong += bool(theirs(tmp_path))
    assert wrong, "one of them is the newest"


def test_most_leaves_are_looked_at_quickly(
    whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "data.mdb"
    file.write_bytes(whole)
    seen: list[bool] = []
    real = quick_structure._QuickVerifier._is_ordinary

    def counted(self: object, ctx: object, buf: object) -> bool:
        seen.append(real(self, ctx, buf))  # type: ignore[arg-type]
        return seen[-1]

    monkeypatch.setattr(quick_structure._QuickVerifier, "_is_ordinary", counted)
    monkeypatch.setattr(quick_structure._QuickVerifier, "_took", lambda *_: False)
    assert structure_errors(file) == []
    assert sum(seen) >= len(seen) - 2, "but for the table of tables, and of free pages"


def test_a_verifier_that_is_built_otherwise_is_asked_by_its_interface(
    whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "data.mdb"
    file.write_bytes(whole)

    def another(*_: object) -> None:
        raise TypeError("no such arguments")

    monkeypatch.setattr(quick_structure, "_QuickVerifier", another)
    assert structure_errors(file) == []
    file.write_bytes(whole[:-PAGE])
    assert structure_errors(file) == theirs(tmp_path)


def test_two_values_on_the_same_pages_are_seen(tmp_path: Path) -> None:
    with lmdb.open(str(tmp_path), map_size=1 << 20) as env, env.begin(write=True) as txn:
        for number in range(3):
            txn.put(b"%d" % number, bytes([number]) * 9000)
    file = tmp_path / "data.mdb"
    content = bytearray(file.read_bytes())
    first_pages = [
        page
        for page in range(2, len(content) // PAGE)
        if struct.unpack_from("<QHHI", content, page * PAGE) == (page, 0, 4, 3)
    ]
    assert len(first_pages) == 3
    for other in (0, 2):
        wrong = content.replace(
            b"1" + struct.pack("<Q", first_pages[1]),  # key and pages of an entry
            b"1" + struct.pack("<Q", first_pages[other]),
        )
        assert wrong != content
        file.write_bytes(wrong)
        assert structure_errors(file) == theirs(tmp_path) != []


@pytest.mark.parametrize("by_levels", [True, False])
@pytest.mark.parametrize("key", [b"%05d", b"%06d"], ids=["odd", "even"])
def test_a_value_that_became_smaller_where_it_was_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: bytes, *, by_levels: bool
) -> None:
    """LMDB writes over what the same transaction wrote, and the pages beside the leaf stay as many."""
    if by_levels:
        monkeypatch.setattr(quick_structure, "_LEAVES_MIN", 1)
    else:
        monkeypatch.setattr(quick_structure._QuickVerifier, "_took", lambda *_: False)
    file = tmp_path / "data.mdb"
    with lmdb.open(str(tmp_path), map_size=16 << 20, max_dbs=1) as env:
        table = env.open_db(b"table")
        with env.begin(write=True) as txn:
            for number in range(VALUES):
                txn.put(key % number, bytes(9000), db=table)
                if number % 3:
                    txn.put(key % number, bytes(100 * number), db=table)
    assert theirs(tmp_path), "it takes that for damage"
    assert structure_errors(file) == []
    content = bytearray(file.read_bytes())
    heads = [
        page * PAGE
        for page in range(2, len(content) // PAGE)
        if struct.unpack_from("<QHHI", content, page * PAGE) == (page, 0, 4, 3)
    ]
    assert len(heads) == VALUES
    for place in heads[::5]:
        for pages in (0, 1, 2, 4, 1 << 20):
            struct.pack_into("<I", content, place + 12, pages)
            file.write_bytes(content)
            assert structure_errors(file), "another number of pages is damage all the same"
        struct.pack_into("<I", content, place + 12, 3)


def test_a_list_of_free_pages_that_became_shorter_while_it_was_written_is_no_damage(
    tmp_path: Path,
) -> None:
    """LMDB makes room for the list of free pages, takes pages of it for that, and writes it: once in some thousand
    commits it is then a page shorter.
    """
    chosen = random.Random(142)
    with lmdb.open(str(tmp_path), map_size=256 << 20, sync=False) as env:
        keys = [b"%06d" % number for number in range(chosen.randrange(400, 3000))]
        with env.begin(write=True) as txn:
            for key in keys:
                txn.put(key, b"x" * chosen.choice([4000, 4000, 3000]))
        for _ in range(4):
            with env.begin(write=True) as txn:
                if chosen.random() < 0.5:
                    for key in chosen.sample(keys, chosen.randrange(1, len(keys))):
                        txn.delete(key)
                else:
                    for key in chosen.sample(keys, chosen.choice([1, 3, 30, 200])):
                        txn.put(key, b"x" * chosen.choice([10, 4000, 9000]))
    assert any("freeDB" in one and "mp_pages" in one for one in theirs(tmp_path))
    assert structure_errors(tmp_path / "data.mdb") == []
