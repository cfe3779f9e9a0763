"""Encrypted databases to back up, and whether what was restored of them is the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from memdb.clock import ManualClock
from memdb.engine.database import EmbeddedDatabase
from memdb.store.archivekeys import KeyFiles
from tests.unit.engine.archives import grow
from tests.unit.engine.conftest import CONFIG, DIM
from tests.unit.engine.test_encryption import OLD, key_file


def opened(folder: Path, key: bytes = OLD, data: str = "data") -> EmbeddedDatabase:
    config = replace(CONFIG, master_key_file=key_file(folder, key))
    return EmbeddedDatabase(folder / data, config=config, clock=ManualClock())


def keys(folder: Path, key: bytes = OLD, *former: bytes) -> KeyFiles:
    return KeyFiles(key_file(folder, key), tuple(key_file(folder, one) for one in former))


@contextmanager
def grown(folder: Path) -> Iterator[EmbeddedDatabase]:
    """An encrypted database of two users."""
    with opened(folder) as made:
        made.create_space("cam", dim=DIM)
        for name in ("alice", "bob"):
            grow(made, name, 0)
        yield made


def content(db: EmbeddedDatabase, name: str) -> list[object]:
    """Everything of a user, comparable."""
    user = db.user(name)
    clips = user.clips(limit=1000)
    assert clips
    return [
        user.revision(),
        [
            (
                clip.id,
                clip.seq,
                clip.transcript,
                clip.keyframes,
                dict(clip.labels),
                clip.global_memory.tobytes(),
                user.short_memory([clip.id])[0].tobytes(),
            )
            for clip in clips
        ],
        [(fact.text, fact.evidence) for fact in user.facts()],
        [(key, user.get(key)) for key in user.keys(limit=10)],
        [(snapshot.name, snapshot.revision) for snapshot in user.snapshots()],
    ]


def compared(folder: Path, copy: str, expected: dict[str, list[object]], key: bytes = OLD) -> None:
    with opened(folder, key, copy) as restored:
        assert restored.users() == sorted(expected)
        assert {name: content(restored, name) for name in expected} == expected
        assert restored.verify().ok
    marked = (folder / copy / "ENCRYPTION").stat()
    assert marked.st_mode & 0o777 == 0o600
