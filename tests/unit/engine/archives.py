"""Users to back up, and whether what was restored of them is the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from memdb import (
    BackupReport,
    Clip,
    Keyframe,
    Utterance,
)
from memdb.engine.database import EmbeddedDatabase
from memdb.store import delta
from memdb.store.environment import Environment
from memdb.store.schema import USER_TABLES
from tests.unit.engine.conftest import CONFIG, DIM, clip, vector


def full_clip(seq: int, *, sealed: bool = True, seed: int = 0) -> Clip:
    """A clip with something in every table."""
    made = np.random.default_rng([seq, seed, sealed])
    return clip(
        seq,
        global_memory=made.standard_normal(DIM).astype(np.float32),
        short_memory=made.standard_normal((12, DIM)).astype(np.float16),
        transcript=(Utterance(0, 1, f"somebody says {seq} {seed}"),),
        transcript_features=vector(seq)[None],
        keyframes=(Keyframe(5, b"jpeg%d" % seq), Keyframe(6, b"more")),
        labels={"n": str(seq)},
        sealed=sealed,
    )


def grow(db: EmbeddedDatabase, name: str, first: int, count: int = 6) -> None:
    """Clips, revisions of clips, facts, values and snapshots."""
    user = db.user(name)
    if first == 0:
        user.configure(text_space="cam")
    door = user.stream("door", space="cam")
    acks = door.write_many([full_clip(first + n) for n in range(count)])
    door.write(full_clip(first + count, sealed=False))
    door.write(full_clip(first + count, sealed=False, seed=1))
    fact = user.remember(
        f"a fact {first}", key=f"k{first % 4}", evidence=[acks[0].clip_id], feature=vector(first)
    )
    user.revise(fact.id, text=f"a fact revised {first}", feature=vector(first + 1))
    user.put("diet", {"n": first})
    user.snapshot(f"s{first}", ttl_s=600)


def everything(path: Path, name: str) -> dict[str, list[tuple[bytes, bytes]]]:
    """Every entry of every table of a user, as LMDB has it."""
    with EmbeddedDatabase(path, config=CONFIG) as db:
        folder = db._directory.user_path(name)
    environment = Environment(folder, USER_TABLES, CONFIG)
    with environment.read() as txn:
        found = {
            table.value: [(key, bytes(value)) for key, value in delta.raw_scan(txn, table)]
            for table in USER_TABLES
        }
    environment.close()
    return found


def same(one: Path, other: Path, *users: str) -> None:
    """Both directories hold the same bytes and are healthy."""
    for user in users:
        assert everything(one, user) == everything(other, user)
    with EmbeddedDatabase(other, config=CONFIG) as db:
        assert db.verify().ok
        assert db.users() == sorted(users)


def counts(report: BackupReport) -> tuple[int, int, int]:
    return report.full, report.incremental, report.unchanged
