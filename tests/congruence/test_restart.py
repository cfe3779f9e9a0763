"""A real server killed under an ingest: the writer goes on by itself, nothing is lost and nothing is doubled."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from memdb.types.clip import Clip
from memdb.types.database import Database, IngestWriter
from memdb_client import connect
from tests.congruence.blocking import connect_blocking
from tests.congruence.media import clip, vector
from tests.congruence.server import ServerProcess

pytestmark = [pytest.mark.congruence, pytest.mark.crash]

CLIPS = 120
KILL_AT = (25, 60)
"""Acknowledgements after which the server is killed."""

Connect = Callable[[str], Database]
CONNECTS: dict[str, Connect] = {"sync": connect, "async": connect_blocking}


def big_clip(seq: int) -> Clip:
    """A clip of 128 KiB, so that a kill meets clips in every state."""
    tokens = np.full((16_384, 4), seq, np.float32)
    return clip(seq, vector(1, seq), short_memory=tokens)


def kill_and_restart(servers: list[ServerProcess], directory: Path, writer: IngestWriter) -> None:
    for count in KILL_AT:
        while writer.acks < count:
            time.sleep(0.001)
        servers[-1].kill()
        servers.append(ServerProcess(directory, servers[0].address))


@pytest.mark.parametrize("transport", CONNECTS)
def test_an_ingest_survives_the_server(transport: str, tmp_path: Path) -> None:
    servers = [ServerProcess(tmp_path / "data")]
    try:
        with CONNECTS[transport](servers[0].address) as db:
            db.create_space("clip", dim=4)
            door = db.user("alice").stream("door", space="clip")
            with door.ingest(window=16) as writer:
                killer = threading.Thread(
                    target=kill_and_restart, args=(servers, tmp_path / "data", writer)
                )
                killer.start()
                for seq in range(CLIPS):
                    writer.send(big_clip(seq))
                    time.sleep(0.002)
                acks = writer.flush()
                killer.join(60)

            assert (writer.acks, writer.next_seq, len(servers)) == (CLIPS, CLIPS, 1 + len(KILL_AT))
            stored = db.user("alice").clips()
            assert [c.seq for c in stored] == list(range(CLIPS))
            assert [c.id for c in stored] == [ack.clip_id for ack in acks]
            assert door.gaps() == []
            for ack, memory in zip(
                acks, db.user("alice").short_memory([a.clip_id for a in acks]), strict=True
            ):
                seq = db.user("alice").clip(ack.clip_id).seq
                assert memory.shape == (16_384, 4)
                assert float(memory[0, 0]) == float(np.float16(seq))
            assert db.verify().ok
    finally:
        servers[-1].kill()
