"""More streams of one client than a server takes over one connection."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from memdb.config import ServerConfig
from memdb.types.database import Database
from memdb_client import connect
from tests.congruence.blocking import connect_blocking
from tests.e2e.serving import serving

WATCHES = ServerConfig(listen="127.0.0.1:0").connection_streams_max + 2


@pytest.mark.parametrize("connects", [connect, connect_blocking], ids=["sync", "async"])
@pytest.mark.parametrize("clients", [1, 3])
def test_calls_are_made_beside_them(
    tmp_path: Path, connects: Callable[..., Database], clients: int
) -> None:
    """Of one client, and of several in one process, whose connections gRPC would make one."""
    with serving(tmp_path / "db") as served:
        databases: list[Any] = [connects(served.address, timeout_s=10.0) for _ in range(clients)]
        revision = databases[0].user("alice").put("diet", 1)
        keys: list[str | None] = []

        def watch(database: Database) -> None:
            changes = database.user("alice").watch(from_revision=revision)
            keys.append(next(iter(changes)).key)
            changes.close()  # type: ignore[attr-defined] # a generator

        watchers = [
            threading.Thread(target=watch, args=(databases[number % clients],))
            for number in range(WATCHES)
        ]
        for watcher in watchers:
            watcher.start()
        deadline_s = time.monotonic() + 20
        while served.server._resources.open_calls.open < WATCHES:
            assert time.monotonic() < deadline_s, "streams that are not let in"
            time.sleep(0.02)
        for database in databases:
            # Each is answered, although the streams stay open.
            assert database.user("alice").revision() == revision
        databases[-1].user("alice").put("mug", 2)
        for watcher in watchers:
            watcher.join(20)

        assert keys == ["mug"] * WATCHES
        for database in databases:
            database.__exit__(None, None, None)
