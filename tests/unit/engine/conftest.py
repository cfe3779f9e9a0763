"""A database in memory-backed storage, and failpoints that do not outlive their test."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from memdb import Clip, failpoints
from memdb.clock import ManualClock
from memdb.config import EngineConfig
from memdb.engine import writer
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.user import EmbeddedUser
from memdb.store.native_commit import native_commit
from memdb.types.arrays import Array
from tests.memory import folder_in_memory

DIM = 8
SECOND_NS = 10**9
CONFIG = EngineConfig(map_bytes_initial=1 << 20, disk_free_bytes_min=1 << 20)


def vector(seed: int, dim: int = DIM) -> Array:
    """A random direction."""
    return np.random.default_rng(seed).standard_normal(dim).astype(np.float32)


def clip(seq: int, **changes: object) -> Clip:
    """A sealed clip of ten seconds."""
    fields = {
        "seq": seq,
        "start_ns": seq * 10 * SECOND_NS,
        "end_ns": (seq + 1) * 10 * SECOND_NS,
        "global_memory": vector(seq),
    }
    return Clip(**(fields | changes))  # type: ignore[arg-type]


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """In memory."""
    with folder_in_memory() as made:
        yield made


@pytest.fixture
def folder() -> Iterator[Path]:
    memory = Path("/dev/shm")
    made = Path(tempfile.mkdtemp(prefix="memdb-", dir=memory if memory.is_dir() else None))
    yield made
    shutil.rmtree(made)


@pytest.fixture(params=["plain", "encrypted"])
def config(request: pytest.FixtureRequest, folder: Path) -> EngineConfig:
    """Damage costs the same in both kinds of directories."""
    if request.param == "plain":
        return CONFIG
    key = folder / "master.key"
    key.touch(mode=0o600)
    key.write_bytes(b"m" * 32)
    return replace(CONFIG, master_key_file=str(key))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def db(folder: Path, clock: ManualClock) -> Iterator[EmbeddedDatabase]:
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as opened:
        opened.create_space("cam", dim=DIM)
        yield opened


@pytest.fixture
def user(db: EmbeddedDatabase) -> EmbeddedUser:
    """With two cameras."""
    alice = db.user("alice")
    for name in ("door", "yard"):
        alice.stream(name, space="cam").create()
    return alice


@pytest.fixture(autouse=True)
def no_failpoints() -> Iterator[None]:
    yield
    failpoints.arm("")


@pytest.fixture
def follow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups go to LMDB behind another, however little they have; the edge's commit has been tried before."""
    assert native_commit() is not None
    monkeypatch.setattr(writer, "FOLLOW_BYTES_MIN", 0)
