"""kill -9 of `memdb serve` while another one stands by, again and again, under writers and readers that go on.

Nobody of them is told of anything: each call is answered in the end, by whoever serves then, and what was
acknowledged by any of the servers is there, once.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from memdb_client import connect
from tests.crash.checks import Tally, check_user
from tests.crash.conftest import CYCLES, SEED
from tests.crash.load import DIM, SPACE, STREAMS, Record, running
from tests.crash.processes import Child

pytestmark = pytest.mark.crash

TAKEOVERS = max(4, CYCLES // 20)
ALIVE_MS = (0, 150)
"""How long one serves before it is killed, from when it has acknowledged something of each stream."""
WAIT_S = 120


class Standby(Child):
    """`memdb serve --standby`, which says when it waits, and when it serves."""

    def __init__(self, data: Path, socket: Path) -> None:
        command = [sys.executable, "-m", "memdb.cli.main", "serve", "--standby"]
        super().__init__([*command, "--data", str(data), "--listen", f"unix:{socket}"])

    def says(self, event: str) -> None:
        assert self.line()["event"] == event


def wait_for_each(record: Record) -> None:
    """Until a clip more of each stream is acknowledged."""

    def newest() -> dict[str, int]:
        with record.lock:
            return {stream: sum(key[0] == stream for key in record.acks) for stream in STREAMS}

    before, until_s = newest(), time.monotonic() + WAIT_S
    while any(count <= before[stream] for stream, count in newest().items()):
        assert time.monotonic() < until_s, f"nothing more of some stream: {before}, {newest()}"
        time.sleep(0.005)


@pytest.mark.timeout(3600)
def test_what_any_of_the_servers_acknowledged_is_there_once(
    directory: Path, report: Callable[[str], None]
) -> None:
    moments, tally, record = random.Random(SEED), Tally(), Record("alice")
    data, socket = directory / "data", directory / "s"
    pauses_s = []
    servers = [Standby(data, socket)]
    try:
        servers[0].says("listening")
        with connect(f"unix:{socket}") as db:
            db.create_space(SPACE, dim=DIM)
            with running(db, record.user, record) as load:
                for _ in range(TAKEOVERS):
                    wait_for_each(record)
                    servers.append(Standby(data, socket))
                    servers[-1].says("standing_by")
                    time.sleep(moments.uniform(*ALIVE_MS) / 1000)
                    began_s = time.monotonic()
                    servers.pop(0).close()
                    servers[0].says("listening")
                    pauses_s.append(time.monotonic() - began_s)
                    tally.cycles += 1
                wait_for_each(record)
                assert not load.errors
                assert all(thread.is_alive() for thread in load._threads), "somebody gave up"
            assert not load.errors
            check_user(db, record, tally, SEED, fresh=set())
            for discrepancy in db.verify().discrepancies:
                tally.fault("diverged", str(discrepancy))
    finally:
        for server in servers:
            server.close()
    tally.acked = len(record.acks)
    pauses_s.sort()
    report(
        f"takeovers: {tally}; from SIGKILL until the other listens"
        f" {pauses_s[len(pauses_s) // 2]:.3f} s, at most {pauses_s[-1]:.3f}"
    )
    assert not tally.faults, "\n".join(tally.faults[:20])
