"""Child processes of the crash tests: the real server, and a program with the embedded database."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any, Self

from tests.crash.forked_program import ForkedProgram

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 180.0
"""Many times what it takes on a machine that has nothing else to do."""


class Child:
    """A process that prints JSON lines; killed at the end of the block, if not before."""

    stdin: int | None = None
    """What it reads from."""

    def __init__(self, command: list[str], **environment: str) -> None:
        self.began_s = time.monotonic()
        self.process = self._started(
            command, {**os.environ, "PYTHONUNBUFFERED": "1", **environment}
        )
        # Drained, so that a talkative child never waits for us; the end of it explains a death.
        self._told: deque[bytes] = deque(maxlen=20)
        self._drain = threading.Thread(target=self._listen, daemon=True)
        self._drain.start()

    def _started(
        self, command: list[str], environment: dict[str, str]
    ) -> subprocess.Popen[bytes] | ForkedProgram:
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=self.stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def line(self, timeout_s: float = START_TIMEOUT_S) -> dict[str, Any]:
        """The next line that it prints; raises `RuntimeError` when it ends or stays silent."""
        assert self.process.stdout is not None
        with selectors.DefaultSelector() as waiting:
            waiting.register(self.process.stdout, selectors.EVENT_READ)
            if not waiting.select(timeout_s):
                raise RuntimeError(f"silent for {timeout_s} s")
        text = self.process.stdout.readline()
        if not text:
            status = self.process.wait()
            self._drain.join(5)
            raise RuntimeError(f"ended with {status}: " + b"".join(self._told).decode())
        line: dict[str, Any] = json.loads(text)
        return line

    def _listen(self) -> None:
        assert self.process.stderr is not None
        self._told.extend(self.process.stderr)

    def kill(self) -> int:
        """SIGKILL; the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        return self.process.wait()

    def rest(self) -> list[dict[str, Any]]:
        """Every whole line that it had printed and nobody read."""
        assert self.process.stdout is not None
        return [json.loads(line) for line in self.process.stdout if line.endswith(b"\n")]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """End it, and let go of its pipes."""
        self.kill()
        self._drain.join(5)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()


class Program(Child):
    """A module of these tests, forked from a process that has loaded memdb: `python -m MODULE`, but for the start."""

    def __init__(self, module: str, *arguments: str, **environment: str) -> None:
        super().__init__([module, *arguments], **environment)

    def _started(
        self, command: list[str], environment: dict[str, str]
    ) -> subprocess.Popen[bytes] | ForkedProgram:
        return ForkedProgram(command[0], command[1:], environment)


class Server(Child):
    """`memdb serve` on a unix socket, ready."""

    def __init__(self, data: Path, socket: Path, **environment: str) -> None:
        socket.unlink(missing_ok=True)
        # As a module, which is that of this checkout wherever memdb is installed.
        command = [sys.executable, "-m", "memdb.cli.main", "serve"]
        command += ["--data", str(data), "--listen", f"unix:{socket}"]
        super().__init__(command, **environment)
        try:
            self.address = str(self.line()["address"])
        except BaseException:
            self.close()
            raise


class Nursery(Child):
    """A process that forks children."""

    stdin = subprocess.PIPE

    def say(self, **line: object) -> None:
        """Ask for a child."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(line).encode() + b"\n")
        self.process.stdin.flush()


class Sweeper(Nursery):
    """`tests.crash.sweep_child`."""

    def __init__(self) -> None:
        super().__init__([sys.executable, "-m", "tests.crash.sweep_child"])

    def run(self, program: str, where: Path, seed: int, failpoints: str) -> int:
        """Run a program; its exit status."""
        self.say(program=program, where=str(where), seed=seed, failpoints=failpoints)
        return int(self.line()["ended"])


class ServerNursery(Nursery):
    """`tests.crash.server_nursery`."""

    def __init__(self, log: Path) -> None:
        # The threads of OpenBLAS are as many as when it was loaded: none beside the caller's, as in `memdb`.
        super().__init__(
            [sys.executable, "-m", "tests.crash.server_nursery"], OPENBLAS_NUM_THREADS="1"
        )
        self.log = log


class ForkedServer:
    """`memdb serve` on a unix socket, ready, as a child of a nursery; killed at the end of the block, if
    not before."""

    def __init__(
        self,
        nursery: ServerNursery,
        data: Path,
        socket: Path,
        clock: Path | None = None,
        **environment: str,
    ) -> None:
        """clock: a `FileClock` that the server goes by."""
        socket.unlink(missing_ok=True)
        self.began_s = time.monotonic()
        self._nursery = nursery
        self._alive = True
        nursery.log.write_bytes(b"")
        nursery.say(
            arguments=["serve", "--data", str(data), "--listen", f"unix:{socket}"],
            log=str(nursery.log),
            environment=environment,
            clock=str(clock or ""),
        )
        self.pid = int(nursery.line()["pid"])
        try:
            self.address = self._listening()
        except BaseException:
            self.kill()
            raise

    def _listening(self) -> str:
        while time.monotonic() < self.began_s + START_TIMEOUT_S:
            for line in self._nursery.log.read_text("utf-8", "replace").splitlines(keepends=True):
                if line.startswith('{"event": "listening"') and line.endswith("\n"):
                    return str(json.loads(line)["address"])
            time.sleep(0.005)
        raise RuntimeError(f"does not answer: {self._nursery.log.read_text()[-2000:]}")

    def kill(self, number: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal and wait until it is dead; the exit status."""
        if not self._alive:
            return 0
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)
        return self.wait()

    def wait(self) -> int:
        """Until it is dead, if it is not known to be; the exit status."""
        if not self._alive:
            return 0
        self._alive = False
        return int(self._nursery.line()["ended"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.kill()


class Embedded(Program):
    """`tests.crash.child` on a directory."""

    def __init__(self, data: Path, user: str, **environment: str) -> None:
        super().__init__("tests.crash.child", str(data), user, **environment)
