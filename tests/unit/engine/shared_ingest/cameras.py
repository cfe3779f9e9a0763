"""Ingest writers of one user, and what they have on its way."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from memdb.engine.database import EmbeddedDatabase
from memdb.engine.ingest import EmbeddedIngestWriter
from memdb.engine.user import EmbeddedUser

PATIENCE_S = 60.0


def threads() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name.startswith("memdb-ingest")]


def camera(user: EmbeddedUser, name: str) -> EmbeddedIngestWriter:
    return user.stream(name, space="cam").ingest()


@contextmanager
def held_back(db: EmbeddedDatabase) -> Iterator[None]:
    """No commit of alice's for the length of the block."""
    with db._users.use("alice", create=True) as memory, memory.held_back():
        yield


def wait_until_durable(db: EmbeddedDatabase, clips: int) -> None:
    """Until so many clips are there, without a word to their writers."""
    with db._users.use("alice") as memory:
        while True:
            revision = memory.view.revision
            found = len(db.user("alice").clips(limit=1000))
            if found >= clips:
                break
            assert memory.wait_for_revision(revision, PATIENCE_S)
        assert found == clips
