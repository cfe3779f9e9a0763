"""Ctrl-C in a call of the sync client, as in a notebook, or an alarm, and what is called next.

Of calls: where a stream is interrupted as it is opened or closed, the lock that gRPC may leave is of that stream, and
who lets go of it waits for it, which nothing outside gRPC can end.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import memdb
import memdb_client
from tests.congruence.server import ServerThread

INTERRUPTS = 15
"""Without a new connection after each of them none of 12 runs came to the end of 25."""

PROGRAM = f"""
import faulthandler, os, random, signal, sys, threading, time
import memdb_client

faulthandler.dump_traceback_later(60, exit=True)
address, error = sys.argv[1:]

class Alarm(Exception):
    pass

def ring(*_):
    raise {{"KeyboardInterrupt": KeyboardInterrupt, "Alarm": Alarm}}[error]

signal.signal(signal.SIGINT, ring)
chance = random.Random(0)
with memdb_client.connect(address) as db:
    alice = db.user("alice")

    def call():
        while True:
            alice.get("a")

    def interrupt():
        time.sleep(chance.uniform(0.02, 0.1))
        os.kill(os.getpid(), signal.SIGINT)

    for _ in range({INTERRUPTS}):
        other = threading.Thread(target=interrupt)
        other.start()
        try:
            call()
        except (KeyboardInterrupt, Alarm):
            other.join()
        assert alice.get("a") == 1
        changes = alice.watch()
        assert next(changes).key == "a"
        changes.close()
print("came to its end")
"""


@pytest.mark.parametrize("error", ["KeyboardInterrupt", "Alarm"])
def test_streams_go_on_after_an_interrupt(error: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with memdb.open(data) as db:
        db.user("alice").put("a", 1)
    with ServerThread(data) as server:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, server.address, error],
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
    assert done.stdout == "came to its end\n", done.stderr


def test_what_is_left_is_kept_for_its_streams_alone(tmp_path: Path) -> None:
    """Or who is interrupted by an alarm over and over comes to have no file left to open."""
    data = tmp_path / "data"
    with memdb.open(data) as db:
        db.user("alice").put("a", 1)
    with ServerThread(data) as server, memdb_client.connect(server.address) as client:
        alice = client.user("alice")
        changes = alice.watch()
        assert next(changes).key == "a"
        for _ in range(5):
            client._rpc.leave_connections()
            assert alice.get("a") == 1
        assert len(client._rpc._connections) == 2
        alice.put("b", 2)
        assert next(changes).key == "b"
        changes.close()
        (only,) = client._rpc._connections
        changes = alice.watch()
        assert next(changes).key == "a"
        changes.close()
        assert client._rpc._connections == [only], "one that is closed was not interrupted"
        assert next(alice.watch()).key == "a"
