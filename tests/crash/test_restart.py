"""How long a server that was killed takes until it answers a user of 10,000 clips: `memdb serve` started anew as
a process of its own, until the first grounding is there.

The processor time is the server's own until then and is judged; the time that passes is told beside it, since
another program's load is in it.  ``MEMDB_CRASH_CYCLES`` (`make crash`: 2,000): a fortieth as many kills.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from memdb.engine.database import EmbeddedDatabase
from memdb_client import connect
from tests.crash.checks import Tally, check_user
from tests.crash.conftest import CYCLES, SEED
from tests.crash.load import DIM, SPACE, STREAMS, Record, clip_of, running, versions_of
from tests.crash.processes import Server

pytestmark = pytest.mark.crash

KILLS = max(3, CYCLES // 40)
CLIPS = 10_000 if CYCLES >= 1000 else 1_000
AT_ONCE = 100
KILL_MS = (5, 150)
P99_MAX_S = 2.0


def plant(data: Path, record: Record) -> None:
    """Write the clips, as the load would."""
    with EmbeddedDatabase(data, embed_texts=False) as db:
        db.create_space(SPACE, dim=DIM)
        for name in STREAMS:
            stream = db.user(record.user).stream(name, space=SPACE)
            for first in range(0, CLIPS // len(STREAMS), AT_ONCE):
                clips = [
                    clip
                    for seq in range(first, first + AT_ONCE)
                    for clip in versions_of(record.user, name, seq)
                ]
                for clip, ack in zip(clips, stream.write_many(clips), strict=True):
                    record.acknowledged(name, clip, ack)


def p99(seconds: list[float]) -> float:
    return sorted(seconds)[min(len(seconds) - 1, int(len(seconds) * 0.99))]


@pytest.mark.timeout(1800)
def test_a_user_of_many_clips_is_answered_soon(
    directory: Path, report: Callable[[str], None]
) -> None:
    moments = random.Random(SEED)
    data, socket = directory / "data", directory / "s"
    record, tally = Record("alice"), Tally()
    plant(data, record)
    wall_s: list[float] = []
    spent_s: list[float] = []
    for _ in range(KILLS):
        asked = clip_of("alice", moments.choice(STREAMS), moments.randrange(CLIPS // len(STREAMS)))
        with Server(data, socket) as server, connect(server.address) as db:
            hits = db.user("alice").ground(asked.global_memory, limit=1).hits
            wall_s.append(time.monotonic() - server.began_s)
            times = psutil.Process(server.process.pid).cpu_times()
            spent_s.append(times.user + times.system)
            assert [hit.clip.seq for hit in hits] == [asked.seq]
            with running(db, "alice", record) as load:
                load.started.wait(30)
                time.sleep(moments.uniform(*KILL_MS) / 1000)
                server.kill()
                db.close()  # ends the calls that would wait for the server to come back
            assert load.errors == []
    with Server(data, socket) as server, connect(server.address) as db:
        check_user(db, record, tally, SEED, fresh=set())
        tally.faults += map(str, db.verify().discrepancies)
    report(
        f"restart: {KILLS} kills at {CLIPS} clips and more ({len(record.acks)} in the end), until the first answer "
        f"median {sorted(wall_s)[len(wall_s) // 2]:.2f} s, p99 {p99(wall_s):.2f} s; of processor time "
        f"median {sorted(spent_s)[len(spent_s) // 2]:.2f} s, p99 {p99(spent_s):.2f} s"
    )
    assert tally.faults == []
    assert p99(spent_s) < P99_MAX_S
