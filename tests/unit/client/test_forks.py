"""A process that is forked in the middle of a call says so, and does not wait for ever."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress

from memdb.errors import Unavailable
from memdb_client import connect
from memdb_client._forks import _Forks

PROGRAM = """
import os, threading
from memdb.errors import FailedPrecondition
from memdb_client import connect

db = connect("127.0.0.1:1", timeout_s=1)

def forked(*calls):
    if not os.fork():
        for call in calls:
            try:
                call()
                print("goes on", flush=True)
            except FailedPrecondition as error:
                print(error.reason, flush=True)
        os._exit(0)
    os.wait()

forked(lambda: connect("127.0.0.1:1"))
# A stack as of a call: in a real one gRPC may end the child by itself, by a signal.
inside, places = threading.Event(), {}
exec(compile("def _blocking(wait):\\n wait()", "site-packages/grpc/_channel.py", "exec"), places)
threading.Thread(
    target=lambda: places["_blocking"](lambda: (inside.set(), threading.Event().wait())), daemon=True
).start()
inside.wait()
forked(db.spaces, lambda: connect("127.0.0.1:1"))
print("parent", flush=True)
os._exit(0)
"""


def test_a_fork_in_the_middle_of_a_call() -> None:
    program = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=50, check=True
    )
    assert program.stdout.split("\n")[:-1] == ["goes on", "FORKED", "FORKED", "parent"]


def test_a_call_of_another_thread_is_seen() -> None:
    forks = _Forks()
    forks.before()
    assert not forks.is_calling
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        connect(f"127.0.0.1:{silent.getsockname()[1]}", timeout_s=60) as db,
    ):

        def ask() -> None:
            with suppress(Unavailable):  # as the database is closed
                db.spaces()

        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        deadline = time.monotonic() + 20
        while not forks.is_calling:
            assert time.monotonic() < deadline
            time.sleep(0.01)
            forks.before()
        db.close()
        thread.join(20)
    forks.in_child()
    assert forks.is_broken
