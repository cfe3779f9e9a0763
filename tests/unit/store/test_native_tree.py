"""The native look at a B-tree says what the one by levels says, of whole files and of damaged ones."""

from __future__ import annotations

import os
import random
import struct
from pathlib import Path
from typing import Any

import lmdb
import pytest
from lmdb import verify

from memdb.store import ordinary_tree
from memdb.store.native_tree import native_look
from memdb.store.ordinary_tree import PageFile, Tree, ordinary_pages, pages_by_level

pytest.importorskip("memdb_edge")

PAGE = 4096
DAMAGES = 900


@pytest.fixture(scope="module", params=[8, 400], ids=["short-keys", "long-keys"])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A file whose table has branches, below branches where keys are long, and values on pages of their own."""
    folder = tmp_path_factory.mktemp("tree")
    chosen = random.Random(5)
    with lmdb.open(str(folder), map_size=16 << 20, max_dbs=1) as env:
        table = env.open_db(b"table")
        for _ in range(3):
            with env.begin(write=True) as txn:
                for number in chosen.sample(range(900), 300):
                    key = b"%08d" % number + bytes(request.param - 8)
                    size = chosen.choice((0, 1, 30, 90, 3000, 9000)) if number % 9 == 0 else 20
                    txn.put(key, chosen.randbytes(size), db=table)
                for number in chosen.sample(range(900), 40):
                    txn.delete(b"%08d" % number + bytes(request.param - 8), db=table)
    return (folder / "data.mdb").read_bytes()


def record(content: bytes) -> tuple[int, Tree]:
    """The first page that was never used, and the record of the table."""
    metas = [content[page * PAGE : (page + 1) * PAGE] for page in (0, 1)]
    newest = max(metas, key=lambda meta: struct.unpack_from("<Q", meta, 144)[0])
    (last,) = struct.unpack_from("<Q", newest, 16 + 24 + 96)
    (_, _, depth, branch, leaf, overflow, entries, root) = struct.unpack_from(
        "<IHHQQQQQ", content, record_place(content)
    )
    return last + 1, Tree(root, depth, branch, leaf, overflow, entries)


def record_place(content: bytes) -> int:
    """Where the record behind the table's name lies, of the newest root of all tables."""
    metas = [content[page * PAGE : (page + 1) * PAGE] for page in (0, 1)]
    newest = max(metas, key=lambda meta: struct.unpack_from("<Q", meta, 144)[0])
    (root,) = struct.unpack_from("<Q", newest, 16 + 24 + 48 + 40)
    return content.index(b"table", root * PAGE) + len(b"table")


def looked(file: Path, end: int, tree: Tree, *, values: bool) -> list[Any]:
    """What each of the two says."""
    with file.open("rb") as opened:
        size = os.fstat(opened.fileno()).st_size
        pages = PageFile(opened.fileno(), size, PAGE, end, values=values)
        both = ordinary_pages(pages, tree), pages_by_level(pages, tree)
    # Of a page that comes twice the one by levels says so by its number alone; nobody takes such a tree.
    told = [None if one is None else sorted(one.tolist()) for one in both]
    return [None if one is None or len(set(one)) != len(one) else one for one in told]


def test_a_whole_tree(whole: bytes, tmp_path: Path) -> None:
    assert native_look() is not None
    file = tmp_path / "data.mdb"
    file.write_bytes(whole)
    assert verify.verify(str(tmp_path)) == []  # type: ignore[no-untyped-call]
    end, tree = record(whole)
    assert tree.depth > 1
    for values in (True, False):
        native, by_level = looked(file, end, tree, values=values)
        assert native == by_level is not None
        assert len(native) == tree.branch_pages + tree.leaf_pages + tree.overflow_pages


@pytest.mark.parametrize("values", [True, False])
def test_damaged_trees(whole: bytes, tmp_path: Path, *, values: bool) -> None:
    file = tmp_path / "data.mdb"
    end, tree = record(whole)
    chosen = random.Random(20261130)
    pages = len(whole) // PAGE
    file.write_bytes(whole)
    used = looked(file, end, tree, values=True)[0]
    refused = 0
    for case in range(DAMAGES):
        content = bytearray(whole)
        begin = chosen.choice(used) * PAGE
        told, where = tree, end
        match case % 6:
            case 0:
                content[begin + chosen.randrange(120)] ^= 1 << chosen.randrange(8)
            case 1:
                content[begin + chosen.randrange(PAGE)] ^= 1 << chosen.randrange(8)
            case 2:
                other = chosen.randrange(pages) * PAGE
                content[begin : begin + PAGE] = whole[other : other + PAGE]
            case 3:
                for _ in range(6):
                    content[begin + chosen.randrange(120)] = chosen.randrange(256)
            case 4:
                del content[chosen.randrange(len(content)) :]
            case 5:
                name = chosen.choice(Tree.__match_args__)
                changed = {one: getattr(tree, one) for one in Tree.__match_args__}
                changed[name] = chosen.choice((0, 1, 2, 33, 1 << 15, 1 << 62, changed[name] + 1))
                told = Tree(**changed)
        file.write_bytes(content)
        where = min(end, len(content) // PAGE)
        native, by_level = looked(file, where, told, values=values)
        assert native == by_level, case
        refused += native is None
    assert refused > DAMAGES // 4, "they were damages"


def test_a_tree_that_leads_back_to_itself_ends(whole: bytes, tmp_path: Path) -> None:
    """Its branches name one child over and over: each look below it would double."""
    end, tree = record(whole)
    content = bytearray(whole)
    for page in range(2, len(content) // PAGE):
        flags, lower = struct.unpack_from("<HH", content, page * PAGE + 10)
        if flags == 1:
            for place in struct.unpack_from(f"<{(lower - 16) >> 1}H", content, page * PAGE + 16):
                struct.pack_into("<IH", content, page * PAGE + place, tree.root, 0)
    file = tmp_path / "data.mdb"
    file.write_bytes(content)
    told = Tree(tree.root, 32, 1 << 60, 1 << 60, 0, 1 << 60)
    with file.open("rb") as opened:
        pages = PageFile(opened.fileno(), len(content), PAGE, end)
        assert ordinary_pages(pages, told) is None


def test_trees_of_any_size_are_taken(
    whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ordinary_tree, "LEVEL_BYTES_MAX", PAGE)
    file = tmp_path / "data.mdb"
    file.write_bytes(whole)
    end, tree = record(whole)
    native, by_level = looked(file, end, tree, values=True)
    assert native is not None
    assert by_level is None
