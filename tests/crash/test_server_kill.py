"""kill -9 of `memdb serve` under four pipelined writers, one that batches and two readers, again and again
on one data directory, and then on the next.

Most servers are forked from a process that has their modules, which is ten times as fast as a start; each
50th is a `memdb serve` of its own.
Every other life ends so long after its first acknowledgement, the rest so long after the first call; each third may
last twice as long as the others.
"""

from __future__ import annotations

import random
import shutil
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
from tests.crash.part import PART
from tests.crash.processes import ForkedServer, Server, ServerNursery

pytestmark = pytest.mark.crash

CYCLES_PER_USER = 5
CYCLES_PER_DIRECTORY = 50
STARTED_EVERY = 50
VERIFIED_EVERY = 10
KILL_MS = (5, 75)
LONG_MS = (5, 150)
"""Each third: what a server does now and then, it does later in its life."""


def look(
    db: Database,
    record: Record,
    tally: Tally,
    seed: int,
    before: set[tuple[str, int]],
    known: set[int],
) -> None:
    """Check what the cycle that has just died left; at its end a directory is asked everything once more."""
    fresh = set(record.acks) - before
    check_user(db, record, tally, seed, fresh=fresh, known=known)
    resend(db, record, tally, fresh)


def wait_for_more(record: Record, before: set[tuple[str, int]]) -> None:
    """Until a few clips are acknowledged in this cycle: a busy machine may take longer than a life lasts."""
    until_s = time.monotonic() + 60
    while len(record.acks) < len(before) + 3 and time.monotonic() < until_s:
        time.sleep(0.002)


def one_directory(
    where: Path, cycles: int, nursery: ServerNursery, moments: random.Random, tally: Tally
) -> None:
    """So many kills of servers of one data directory, and a look at all that is in it."""
    records: list[Record] = []
    before: set[tuple[str, int]] = set()
    known: set[int] = set()
    data, socket = where / "data", where / "s"
    for cycle in range(cycles + 1):
        with (
            Server(data, socket)
            if cycle % STARTED_EVERY == 5
            else ForkedServer(nursery, data, socket)
        ) as server:
            with connect(server.address) as db:
                db.create_space(SPACE, dim=DIM)
                tally.restart_s.append(time.monotonic() - server.began_s)
                if records:
                    look(db, records[-1], tally, SEED + cycle, before, known)
                if cycle % VERIFIED_EVERY == 0 or cycle == cycles:
                    for discrepancy in db.verify().discrepancies:
                        tally.fault("diverged", str(discrepancy))
                if cycle == cycles:
                    for record in records:
                        check_user(db, record, tally, SEED, fresh=set())
                    break
            if cycle % CYCLES_PER_USER == 0:
                records.append(Record(f"user-{cycle // CYCLES_PER_USER}"))
            before, known = set(records[-1].acks), set(records[-1].answers)
            delay_s = moments.uniform(*(KILL_MS if cycle % 3 else LONG_MS)) / 1000
            with connect(server.address) as db, running(db, records[-1].user, records[-1]) as load:
                load.started.wait(30)
                if cycle % 2:
                    wait_for_more(records[-1], before)
                time.sleep(delay_s)
                server.kill()
                # Ends the calls that would wait for the server to come back.
                db.close()
            for error in load.errors:
                tally.fault("diverged", f"cycle {cycle}: {error}")
        tally.cycles += 1
        if tally.faults:
            break
    tally.acked += sum(len(record.acks) for record in records)


@pytest.mark.timeout(7200)
def test_nothing_acknowledged_is_lost_torn_or_doubled(
    directory: Path, report: Callable[[str], None]
) -> None:
    moments = random.Random(SEED)
    tally, cycles = Tally(), PART.share(CYCLES)
    began_s = time.monotonic()
    with ServerNursery(directory / "log") as nursery:
        while tally.cycles < cycles and not tally.faults:
            where = directory / str(tally.cycles)
            where.mkdir()
            one_directory(
                where, min(CYCLES_PER_DIRECTORY, cycles - tally.cycles), nursery, moments, tally
            )
            if not tally.faults:
                shutil.rmtree(where)
    report(f"memdb serve: {tally}, {time.monotonic() - began_s:.0f} s")
    assert not tally.faults, "\n".join(tally.faults[:20])
    assert tally.acked > cycles
    assert threading.active_count() < 20
