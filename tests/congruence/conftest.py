"""One database over each transport: embedded, over the sync client, over the asyncio client."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import memdb
from memdb.types.database import Database, Stream, User
from memdb_client import connect
from tests.congruence.blocking import connect_blocking
from tests.congruence.server import ServerThread
from tests.memory import folder_in_memory

TRANSPORTS = ("embedded", "sync", "async")
ENCRYPTED = "encrypted"
"""Embedded, in an encrypted directory; where one long test says enough."""


@contextmanager
def opened(transport: str, directory: Path) -> Iterator[Database]:
    """A new database in ``directory`` over ``transport``."""
    if transport == "embedded":
        with memdb.open(directory) as embedded:
            yield embedded
        return
    if transport == ENCRYPTED:
        key = directory.with_suffix(".key")
        key.touch(mode=0o600)
        key.write_bytes(bytes(range(32)))
        with memdb.open(directory, master_key_file=key) as encrypted:
            yield encrypted
        return
    with ServerThread(directory, backup_dir=str(directory.parent / "backups")) as server:
        if transport == "sync":
            with connect(server.address) as db:
                yield db
        else:
            with connect_blocking(server.address) as db:
                yield db


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """In memory."""
    with folder_in_memory() as made:
        yield made


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def db(transport: str, tmp_path: Path) -> Iterator[Database]:
    with opened(transport, tmp_path / "data") as db:
        db.create_space("clip", dim=4)
        yield db


@pytest.fixture
def user(db: Database) -> User:
    """Alice, who has not written yet."""
    return db.user("alice")


@pytest.fixture
def door(user: User) -> Stream:
    """Her camera, which does not exist yet."""
    return user.stream("door", space="clip")
