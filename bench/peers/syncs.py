"""How often processes tell the kernel to bring files to the disk, counted by strace."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.peers.process import tree

_CALLS = ("fsync", "fdatasync", "msync", "sync_file_range", "sync", "syncfs")
_ATTACH_S = 20.0


def count_syncs(pids: Sequence[int], work: Callable[[], None]) -> int | None:
    """Calls of `pids` and their descendants while ``work`` runs; None without strace.  Slow: time nothing in it."""
    strace = shutil.which("strace")
    if strace is None:
        return None
    everyone = sorted({each for pid in pids for each in tree(pid)})
    with tempfile.NamedTemporaryFile("r", suffix=".strace") as out:
        attach = [argument for pid in everyone for argument in ("-p", str(pid))]
        tracer = subprocess.Popen(
            [strace, "-f", "-e", f"trace={','.join(_CALLS)}", "-o", out.name, *attach],
            stderr=subprocess.DEVNULL,
        )
        try:
            _attached(everyone, tracer)
            work()
            time.sleep(0.2)  # what belongs to the last acknowledgement may come a little later
        finally:
            tracer.send_signal(signal.SIGINT)
            tracer.communicate()
        if tracer.returncode not in (0, -signal.SIGINT, 130):
            return None  # the machine does not let processes be traced
        lines = out.readlines()
    return sum(any(f" {name}(" in line for name in _CALLS) for line in lines)


def _attached(pids: Sequence[int], tracer: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + _ATTACH_S
    while time.monotonic() < until and tracer.poll() is None:
        states = [Path(f"/proc/{pid}/status").read_text("utf-8") for pid in pids]
        if all("TracerPid:\t0" not in state for state in states):
            return
        time.sleep(0.05)
