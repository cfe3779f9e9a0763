"""kill -9 of `memdb serve` under two pipelined writers, one that batches and one reader, again and
again on one data directory.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from memdb.types.database import Database
from memdb_client import connect
from tests.crash.checks import Tally, check_user, resend
from tests.crash.conftest import CYCLES, SEED
from tests.crash.load import DIM, SPACE, Record, running
from tests.crash.processes import Server

pytestmark = pytest.mark.crash

CYCLES_PER_USER = 10
KILL_MS = (5, 350)


def look(
    db: Database, record: Record, tally: Tally, seed: int, before: set[tuple[str, int]]
) -> None:
    """Check what the cycle that has just died left."""
    fresh = set(record.acks) - before
    check_user(db, record, tally, seed, fresh=fresh)
    resend(db, record, tally, fresh)


@pytest.mark.timeout(1800)
def test_nothing_acknowledged_is_lost_torn_or_doubled(
    directory: Path, report: Callable[[str], None]
) -> None:
    moments = random.Random(SEED)
    tally = Tally()
    records: list[Record] = []
    before: set[tuple[str, int]] = set()
    socket = directory / "s"
    began_s = time.monotonic()
    for cycle in range(CYCLES + 1):
        with Server(directory / "data", socket) as server:
            with connect(server.address) as db:
                db.create_space(SPACE, dim=DIM)
                tally.restart_s.append(time.monotonic() - server.began_s)
                if records:
                    look(db, records[-1], tally, SEED + cycle, before)
                if cycle % 10 == 0 or cycle == CYCLES:
                    verified = db.verify()
                    for discrepancy in verified.discrepancies:
                        tally.fault("diverged", str(discrepancy))
                if cycle == CYCLES:
                    for record in records:
                        check_user(db, record, tally, SEED, fresh=set())
                    break
            if cycle % CYCLES_PER_USER == 0:
                records.append(Record(f"user-{cycle // CYCLES_PER_USER}"))
            before = set(records[-1].acks)
            delay_s = moments.uniform(*KILL_MS) / 1000
            with connect(server.address) as db, running(db, records[-1].user, records[-1]) as load:
                load.started.wait(30)
                time.sleep(delay_s)
                server.kill()
                # Ends the calls that would wait for the server to come back.
                db.close()
            for error in load.errors:
                tally.fault("diverged", f"cycle {cycle}: {error}")
        tally.cycles += 1
        if tally.faults:
            break
    tally.acked = sum(len(record.acks) for record in records)
    report(f"memdb serve: {tally}, {time.monotonic() - began_s:.0f} s")
    assert not tally.faults, "\n".join(tally.faults[:20])
    assert tally.acked > CYCLES
    assert threading.active_count() < 20
