"""kill -9 of a server whose clips answer standing questions, under a writer and a watcher that keeps its
cursor now and then: no answer is lost, and the same answer has the same id.

Every other life ends between a commit and whatever follows it (`commit.after`), the rest at any moment.
``MEMDB_CRASH_CYCLES`` (`make crash`: 2,000): a tenth as many kills here.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from memdb import Alert, Clip, StoredClip, Unavailable
from memdb.types.database import Database, Stream, User
from memdb_client import connect
from tests.crash.conftest import CYCLES, SEED
from tests.crash.processes import ForkedServer, ServerNursery

pytestmark = pytest.mark.crash

KILLS = max(4, CYCLES // 10)
AXES = np.eye(4, dtype=np.float32)
SECOND_NS = 10**9
LIFE_MS = (20, 150)
COMMITS = (1, 30)
EXIT = 137
"""Of a server that met its failpoint."""


def clip(seq: int) -> Clip:
    """One second; it answers one of four questions."""
    return Clip(
        seq=seq,
        start_ns=seq * SECOND_NS,
        end_ns=(seq + 1) * SECOND_NS,
        global_memory=AXES[seq % 4],
    )


@dataclass
class Watcher:
    """What somebody has heard who forgets a part of it with every crash."""

    moments: random.Random
    cursor: str | None = None
    heard: dict[str, Alert] = field(default_factory=dict)
    twice: int = 0
    at_failpoint: int = 0
    """Lives that ended between a commit and what follows it."""

    def listen(self, user: User) -> None:
        """Until the server is gone."""
        try:
            for alert in user.standing.watch(cursor=self.cursor):
                self.hear(alert)
        except Unavailable:
            return  # killed

    def hear(self, alert: Alert) -> None:
        before = self.heard.setdefault(alert.id, alert)
        self.twice += before is not alert
        assert (before.clip_id, before.question_id) == (alert.clip_id, alert.question_id)
        if self.moments.random() < 0.3:
            self.cursor = alert.cursor


def write(stream: Stream, begin: int) -> int:
    """Clips from a number on, until the server is gone; the first that is not acknowledged."""
    seq = begin
    try:
        while True:
            stream.write(clip(seq))
            seq += 1
    except Unavailable:
        return seq


def life(db: Database, server: ForkedServer, watcher: Watcher, begin: int, kill: bool) -> int:
    """Write and listen until the server dies, of a kill or at its failpoint; the next number to write."""
    user = db.user("alice")
    listening = threading.Thread(target=watcher.listen, args=(user,))
    listening.start()

    def end() -> None:
        if kill:
            time.sleep(watcher.moments.uniform(*LIFE_MS) / 1000)
            server.kill()
        else:
            watcher.at_failpoint += server.wait() == EXIT
        db.close()  # ends the calls that would wait for the server to come back

    ending = threading.Thread(target=end)
    ending.start()
    seq = write(user.stream("door", space="s"), begin)
    ending.join()
    listening.join(30)
    assert not listening.is_alive()
    return seq


@pytest.mark.timeout(1800)
def test_no_answer_is_lost(directory: Path, report: Callable[[str], None]) -> None:
    moments = random.Random(SEED)
    watcher = Watcher(moments)
    data, socket = directory / "data", directory / "s"
    seq = 0
    with ServerNursery(directory / "log") as nursery:
        with ForkedServer(nursery, data, socket) as server, connect(server.address) as db:
            db.create_space("s", dim=4)
            db.user("alice").stream("door", space="s").create()
            for axis in AXES[:3]:
                db.user("alice").standing.create(axis, min_score=0.5)
        for cycle in range(KILLS):
            armed = f"commit.after=exit@{moments.randint(*COMMITS)}" if cycle % 2 else ""
            mortal = ForkedServer(nursery, data, socket, MEMDB_FAILPOINTS=armed)
            with mortal, connect(mortal.address) as db:
                seq = life(db, mortal, watcher, seq, kill=not armed)
        with ForkedServer(nursery, data, socket) as server, connect(server.address) as db:
            user = db.user("alice")
            if seq:
                assert user.stream("door").write(clip(seq - 1)).duplicate
            for alert in user.standing.watch(cursor=watcher.cursor, follow=False):
                watcher.hear(alert)
            there = {one.id for one in every_clip(user) if one.seq % 4 != 3}
            heard = [alert.clip_id for alert in watcher.heard.values()]
            assert set(heard) == there
            assert len(heard) == len(there)
            assert db.verify().ok
    report(
        f"standing questions: {KILLS} kills, {watcher.at_failpoint} of them at a failpoint, "
        f"{len(there)} answers, {watcher.twice} told again, 0 lost (seed {SEED})"
    )

    assert watcher.at_failpoint == KILLS // 2


def every_clip(user: User) -> list[StoredClip]:
    """All clips, page by page."""
    found: list[StoredClip] = []
    while page := user.clips(after=found[-1].cursor if found else None):
        found += page
    return found
