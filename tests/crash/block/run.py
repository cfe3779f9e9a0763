"""Power losses of a block device, in namespaces of their own, so that nothing outlives them.

    python -m tests.crash.block.run check KIND POINTS SEED KEEP [MUTANT]
    python -m tests.crash.block.run relaxed KIND POINTS SEED KEEP         the newest commits may be undone
    python -m tests.crash.block.run recover KIND RECOVERIES SEED KEEP     ten points of each
    python -m tests.crash.block.run look KEPT     looks again at what a failed test kept
    python -m tests.crash.block.run order KIND    says what of a record is not in the order of the syncs
    python -m tests.crash.block.run probe KIND    says why there is nothing to be had here, or nothing

The processes are in a namespace that ends with this one, as this one ends with whoever started it: killed with
``--kill-child`` and a death signal, whatever happens.  The mounts are in one too, which ends with them, the files in
a memory file system that is mounted there; a loop device ends with its last mount.  So a run that is killed leaves
nothing.

Prints one line of JSON: the figures, or the faults.
"""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
import tempfile
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from tests.crash.block.file_systems import FILE_SYSTEMS
from tests.crash.block.fuse import IMAGE, MARK
from tests.crash.block.harness import Harness, again
from tests.crash.block.log import Event, read_log
from tests.crash.block.recording import recorded_disk
from tests.crash.block.system import loop_device, mount, unmount

ROOT: Final = Path(__file__).resolve().parents[3]
OF_ONE_RECOVERY: Final = 10
_INSIDE: Final = "--inside"
_NAMESPACE: Final = (
    *("setpriv", "--pdeathsig", "KILL"),
    *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
)


def run(*arguments: str, timeout_s: float) -> Any:
    """What a command says, run in namespaces; raises `RuntimeError` where it fails or takes too long."""
    with tempfile.TemporaryDirectory() as scratch:  # to mount on
        command = [*_NAMESPACE, sys.executable, "-m", "tests.crash.block.run", _INSIDE, scratch]
        try:
            done = subprocess.run(
                [*command, *arguments],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout_s,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise RuntimeError(str(error)) from error
    lines = done.stdout.splitlines()
    if done.returncode != 0 or not lines:
        told = done.stderr.strip()[-2000:]
        raise RuntimeError(f"{' '.join(arguments)} ended with {done.returncode}: {told}")
    return json.loads(lines[-1])


def missing(kind: str) -> str:
    """Why file systems of a kind cannot be had on a recorded disk here; empty where they can."""
    if os.geteuid() != 0:
        return "needs root"
    if FILE_SYSTEMS[kind][0].tool is None:
        return f"needs mkfs.{kind}"
    for device in ("/dev/fuse", "/dev/loop-control"):
        if not Path(device).exists():
            return f"needs {device}"
    try:
        run("probe", kind, timeout_s=60)
    except RuntimeError as error:
        return f"needs mounts, namespaces and loop devices: {str(error).splitlines()[-1]}"
    return ""


def _probe(kind: str, where: Path, times: int = 1) -> list[Event]:
    """A file that is written and synced, and a mark after it, so many times; the record."""
    image, mounted = where / "image", where / "mounted"
    mounted.mkdir()
    file_system = FILE_SYSTEMS[kind][0]
    file_system.make(image)
    with recorded_disk(image, where) as disk:
        with loop_device(disk / IMAGE) as device:
            mount(device, mounted, kind, file_system.options)
        with (mounted / "file").open("wb", 0) as file, (disk / MARK).open("ab", 0) as mark:
            for number in range(times):
                os.pwrite(file.fileno(), _content(number), number << 16)
                os.fsync(file.fileno())
                mark.write(b"%d" % number)
        unmount(mounted)
    return read_log(where / "log")


def _content(number: int) -> bytes:
    return random.Random(number).randbytes(4096)


def _order(kind: str, where: Path) -> list[str]:
    """What was not flushed when whoever had synced it said so."""
    faults = []
    marks = []
    written: list[bytes] = []
    flushed: set[bytes] = set()
    for event in _probe(kind, where, 50):
        if event.kind == "W":
            written += (event.data[at : at + 4096] for at in range(0, len(event.data), 4096))
        elif event.kind == "S":
            flushed.update(written)
            written = []
        else:
            marks.append(int(event.data))
            if _content(marks[-1]) not in flushed:
                faults.append(f"{marks[-1]} was not flushed before its mark")
    return faults if marks == list(range(50)) else [*faults, f"marks {marks}"]


def _check(
    scratch: Path, what: str, kind: str, count: str, seed: str, keep: str, mutant: str = ""
) -> dict[str, Any]:
    harness = Harness(kind, int(seed), where=scratch, keep=Path(keep), stop_at_first=bool(mutant))
    with closing(harness):
        if what == "recover":
            harness.check_recoveries(int(count), OF_ONE_RECOVERY)
        else:
            harness.check(int(count), mutant, "relaxed" if what == "relaxed" else "durable")
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        used = resource.getrusage(who)
        harness.result.processor_s += used.ru_utime + used.ru_stime
    return asdict(harness.result)


def _inside(scratch: Path, what: str, *arguments: str) -> Any:
    mount("memdb-block", scratch, "tmpfs")
    match what:
        case "check" | "relaxed" | "recover":
            return _check(scratch, what, *arguments)
        case "look":
            return again(Path(arguments[0]), scratch)
        case "order":
            return _order(arguments[0], scratch)
        case "probe":
            return len(_probe(arguments[0], scratch))
    raise SystemExit(f"no command {what}")


def main() -> None:
    if sys.argv[1] == _INSIDE:
        print(json.dumps(_inside(Path(sys.argv[2]), *sys.argv[3:])))
        return
    said = run(*sys.argv[1:], timeout_s=7200)
    print(json.dumps(said, indent=1))
    sys.exit(1 if isinstance(said, list) and said else 0)


if __name__ == "__main__":
    main()
