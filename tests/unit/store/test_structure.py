"""A file with a page that was lost is refused before LMDB maps it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import memdb
from memdb import Clip, DataLoss
from memdb.store import schema
from memdb.store.quick_structure import structure_errors
from memdb.store.structure import check_structure
from tests.unit.store.test_quick_structure import parting_keys
from tests.unit.store.test_rollback import made

PAGE = 4096


def test_each_page_that_holds_structure_is_missed_when_it_is_zeroed(tmp_path: Path) -> None:
    data_file = made(tmp_path / "data")
    whole = data_file.read_bytes()
    refused = 0
    for at in range(0, len(whole), PAGE):
        data_file.write_bytes(whole[:at] + bytes(PAGE) + whole[at + PAGE :])
        found = structure_errors(data_file)
        if not found:  # a page that is free, or the older of the two meta pages
            check_structure(data_file)
            continue
        refused += 1
        with pytest.raises(DataLoss) as error:
            check_structure(data_file)
        assert (error.value.reason, error.value.field) == ("CORRUPTED", data_file.parent.name)
        assert error.value.value == str(len(found))
    assert refused >= 5


def test_its_user_alone_is_refused(tmp_path: Path) -> None:
    data_file = made(tmp_path / "data")
    whole = bytearray(data_file.read_bytes())
    whole[2 * PAGE :] = bytes(len(whole) - 2 * PAGE)
    data_file.write_bytes(whole)
    with memdb.open(tmp_path / "data") as db:
        assert db.user("bob").get("n") == 0
        with pytest.raises(DataLoss, match="structure") as error:
            db.user("alice").get("n")
        assert error.value.reason == "CORRUPTED"


def test_what_was_closed_in_order_elsewhere_is_looked_at(tmp_path: Path) -> None:
    # This process's own marker is believed; a copy has other times, so that its marker says nothing.
    data_file = made(tmp_path / "data")
    copy = tmp_path / "copy"
    shutil.copytree(data_file.parent, copy)
    os.utime(copy / "data.mdb", ns=(1, 1))
    content = bytearray((copy / "data.mdb").read_bytes())
    content[2 * PAGE :] = bytes(len(content) - 2 * PAGE)
    (copy / "data.mdb").write_bytes(content)
    check_structure(data_file)
    with pytest.raises(DataLoss):
        check_structure(copy / "data.mdb")


def test_a_number_that_a_look_up_would_miss_is_not_taken_twice(tmp_path: Path) -> None:
    """The key between two leaves of the ledger is too large: what it leaves out lies on the leaf that nobody asks."""
    clips = [
        Clip(seq=seq, start_ns=seq, end_ns=seq + 1, global_memory=np.ones(4, np.float32))
        for seq in range(200)
    ]
    with memdb.open(tmp_path / "data") as db:
        db.create_space("s", dim=4)
        db.user("alice").stream("cam", space="s").write_many(clips)
    (data_file,) = (tmp_path / "data" / "users").glob("*/data.mdb")
    content = bytearray(data_file.read_bytes())
    numbers = {schema.ledger_key(0, 0, seq): seq for seq in range(200)}
    flipped = [
        (place, numbers[bytes(content[place : place + 16])])
        for place in parting_keys(bytes(content))
        if bytes(content[place : place + 16]) in numbers
    ]
    assert flipped
    for place, seq in flipped:
        content[place + 15] = seq + 1
    data_file.write_bytes(content)
    with memdb.open(tmp_path / "data") as db:
        stream = db.user("alice").stream("cam")
        with pytest.raises(DataLoss) as refused:
            stream.write(clips[flipped[0][1]])
        assert refused.value.reason == "CORRUPTED"
