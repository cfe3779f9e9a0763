"""A real server killed under a watch of standing questions: it goes on by itself, and nothing is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from memdb.types.database import Database
from memdb_client import connect
from tests.congruence.blocking import connect_blocking
from tests.congruence.media import AXES, clip
from tests.congruence.server import ServerProcess

pytestmark = [pytest.mark.congruence, pytest.mark.crash]

CLIPS = 60
KILL_AT = (15, 40)
CONNECTS: dict[str, Callable[[str], Database]] = {"sync": connect, "async": connect_blocking}


@pytest.mark.parametrize("transport", CONNECTS)
def test_a_watch_survives_the_server(transport: str, tmp_path: Path) -> None:
    servers = [ServerProcess(tmp_path / "data")]
    heard: list[str] = []
    clip_ids: set[str | None] = set()
    try:
        with CONNECTS[transport](servers[0].address) as db, connect(servers[0].address) as mine:
            db.create_space("clip", dim=4)
            user = mine.user("alice")
            door = user.stream("door", space="clip")
            door.create()
            user.standing.create(AXES[0], min_score=0.5)

            def listen() -> None:
                alerts = db.user("alice").standing.watch()
                for alert in alerts:
                    heard.append(alert.id)
                    clip_ids.add(alert.clip_id)
                    if len(clip_ids) == CLIPS:
                        break
                alerts.close()  # type: ignore[attr-defined] # a generator

            listener = threading.Thread(target=listen)
            listener.start()
            written = set()
            for seq in range(CLIPS):
                if seq in KILL_AT:
                    servers[-1].kill()
                    servers.append(ServerProcess(tmp_path / "data", servers[0].address))
                written.add(door.write(clip(seq, AXES[0])).clip_id)
            listener.join(60)
            assert not listener.is_alive()
            assert clip_ids == written
            assert len(set(heard)) == CLIPS
    finally:
        servers[-1].kill()
