"""An import into a user of whom something is damaged: it stays as it is, and is told."""

from __future__ import annotations

from pathlib import Path

import lmdb
import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="the extra memdb[export] is not installed")

from memdb import DataLoss
from memdb.config import EngineConfig
from memdb.engine.database import EmbeddedDatabase
from memdb.portable.exporter import export_user
from memdb.portable.importer import import_user
from memdb.store.schema import Table, vector_key, version_key
from memdb.types.clip import Clip

CONFIG = EngineConfig(map_bytes_initial=1 << 20, disk_free_bytes_min=1 << 20)


def clip(seq: int) -> Clip:
    return Clip(
        seq=seq, start_ns=seq * 10, end_ns=seq * 10 + 10, global_memory=np.ones(8, np.float32)
    )


def damage(folder: Path, clip_no: int, birth: int) -> None:
    """Leave nothing of a clip that tells its time."""
    with lmdb.open(str(folder), max_dbs=len(Table) + 1) as env, env.begin(write=True) as txn:
        for table, key in (
            (Table.CLIPS, version_key(clip_no, birth)),
            (Table.VECTORS, vector_key(0, clip_no, birth)),
        ):
            handle = env.open_db(table.value.encode(), txn=txn, create=False)
            value = bytearray(txn.get(key, db=handle) or b"")
            value[-1] ^= 1
            txn.put(key, bytes(value), db=handle)


def test_a_damaged_clip_is_not_erased_with_the_numbers_that_are_taken(tmp_path: Path) -> None:
    with EmbeddedDatabase(tmp_path / "data", config=CONFIG) as db:
        db.create_space("cam", dim=8)
        source, alice = db.user("source"), db.user("alice")
        acks = source.stream("door", space="cam").write_many([clip(seq) for seq in range(10, 14)])
        source.erase_clips([acks[1].clip_id])
        export_user(db, "source", tmp_path / "export")
        kept = alice.stream("door", space="cam").write_many([clip(seq) for seq in range(3)])
        folder, birth = db._directory.user_path("alice"), kept[1].revision
    damage(folder, 1, birth)
    with EmbeddedDatabase(tmp_path / "data", config=CONFIG) as db:
        report = import_user(db, tmp_path / "export", user="alice")
        assert (report.clips_written, report.numbers_taken) == (3, 1)
        alice = db.user("alice")
        told = [(gap.first_seq, gap.last_seq, gap.reason) for gap in alice.stream("door").gaps()]
        assert told == [(1, 1, "damaged"), (3, 9, "missing")]
        with pytest.raises(DataLoss):
            alice.clip(kept[1].clip_id)
        assert [one.seq for one in alice.clips()] == [0, 2, 10, 12, 13]
        assert import_user(db, tmp_path / "export", user="alice").numbers_taken == 0
