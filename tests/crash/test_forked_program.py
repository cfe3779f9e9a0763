"""What the crash tests' programs are forked with."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from memdb_client import connect
from tests.crash.load import DIM, SPACE, STREAMS, clip_of, standing_question
from tests.crash.processes import ForkedServer, Program, ServerNursery


def exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_signal_to_a_program_that_is_gone_and_has_not_told_its_status_is_nothing(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the two it was an error of the test that sent it."""
    with Program("tests.crash.child", str(directory / "data"), "alice") as child:
        child.line()
        os.kill(child.process.pid, signal.SIGKILL)
        deadline = time.monotonic() + 60
        while exists(child.process.pid):
            assert time.monotonic() < deadline
            time.sleep(0.001)
        with monkeypatch.context() as untold:
            untold.setattr(child.process, "poll", lambda: None)
            child.process.send_signal(signal.SIGKILL)
        assert child.kill() == -signal.SIGKILL


def libraries(pid: int) -> set[str]:
    """What is loaded into a process, beside Python's own modules."""
    maps = Path(f"/proc/{pid}/maps").read_text("utf-8")
    return {line.split()[-1] for line in maps.splitlines() if ".so" in line}


def parent(pid: int) -> int:
    (line,) = [
        line
        for line in Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
        if line.startswith("PPid:")
    ]
    return int(line.split()[1])


def test_a_program_loads_nothing_that_was_not_there_when_it_was_forked(directory: Path) -> None:
    """FAISS and the native edge were loaded anew by each: most of what a life of a fifth of a second took."""
    with Program("tests.crash.child", str(directory / "data"), "alice") as child:
        while "revision" not in child.line():
            pass
        assert libraries(child.process.pid) <= libraries(parent(child.process.pid))


def test_a_server_loads_nothing_that_was_not_there_when_it_was_forked(directory: Path) -> None:
    with (
        ServerNursery(directory / "log") as nursery,
        ForkedServer(nursery, directory / "data", directory / "s") as server,
        connect(server.address) as db,
    ):
        db.create_space(SPACE, dim=DIM)
        alice = db.user("alice")
        alice.stream(STREAMS[0], space=SPACE).write(clip_of("alice", STREAMS[0], 0))
        assert alice.ground(standing_question("alice"), limit=8).hits
        assert db.verify().ok
        assert libraries(server.pid) <= libraries(parent(server.pid))
