"""`make crash`: all harnesses at length, as pieces of about equal length, so many at a time, the longest first.

    python -m tests.crash.full [--workers N] [--only PIECE ...] [-- ARGUMENTS OF PYTEST]

A piece is a pytest of its own on some of the tests, or on the k-th part of what they draw (`tests.crash.part`).  Each
prints its figures as it ends; at the end there is a table of all.  The processor time is that of the piece and of
all that it started and waited for: half of the sum is what two cores that do nothing else need.

Kills and the server's machine wait a fifth to a third of their time, for disks and for servers that tell that they
stop; so three pieces for every two cores keep the cores busy (`workers`).

What a failed piece leaves stays below a directory of the run, which is named; that of the others is removed.
The sizes are variables of the environment, which the Makefile sets; ``MEMDB_CRASH_SEED`` is the seed of all.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from tests.crash.processes import ROOT

HAS_EDGE: Final = find_spec("memdb_edge") is not None
"""The native edge, which need not be installed."""
_FIGURES = re.compile(r"^=+ (crash \(seed|state machines|NOT TESTED)")


@dataclass(frozen=True, slots=True)
class Piece:
    """Some tests, or a part of what they draw."""

    name: str
    tests: tuple[str, ...]
    minutes: float
    """By the clock, at full size, as its piece of the last whole tier took: the order goes by it."""
    part: str = ""

    def __str__(self) -> str:
        return f"{self.name} {self.part}".strip()


def pieces() -> list[Piece]:
    """All that there is, the longest first."""
    crash, machines = "tests/crash/test_", "tests/property/test_"
    power, engine = f"{crash}power_loss.py::test_", f"{machines}engine_machine.py"
    shared = (
        ("kills of the server", (f"{crash}server_kill.py",), 15.0, 3),
        ("power loss", (f"{power}what_was_acknowledged_outlives_power_loss",), 8.4, 4),
        ("power loss of a block device", (f"{crash}block_loss.py",), 4.5, 1),
        ("failpoints", (f"{crash}failpoints.py",), 7.1, 2),
        ("damage", (f"{crash}damage.py",), 4.5, 1),
        ("erasure", (f"{crash}erase.py",), 1.0, 1),
        ("engine machine", (f"{engine}::TestEngineMachine",), 17.7, 6),
        ("server machine", (f"{machines}server_machine.py",), 14.1, 3),
        ("power loss after kills", (f"{power}names_that_a_killed_process_left_unsynced",), 4.6, 1),
        ("mutants", (f"{crash}mutants.py",), 1.0, 1),
        ("system calls", (f"{crash}syscalls.py",), 4.5, 1),
        ("power loss in recovery", (f"{power}power_loss_while_it_recovers",), 1.6, 1),
        ("power loss, relaxed", (f"{power}what_a_relaxed_database_keeps_is_whole",), 0.4, 1),
        ("kills of embedded programs", (f"{crash}embedded_kill.py",), 3.4, 1),
        ("backups", (f"{crash}backup_kill.py",), 2.5, 1),
        ("restarts", (f"{crash}restart.py",), 2.5, 1),
        ("takeovers", (f"{crash}takeover.py",), 3.0, 1),
        ("standing questions", (f"{crash}standing_kill.py",), 1.3, 1),
        ("encrypted machine", (f"{engine}::TestEncryptedMachine",), 1.3, 1),
        *((("ready answers", (f"{machines}shelf_machine.py",), 7.8, 2),) if HAS_EDGE else ()),
    )
    made = [
        Piece(name, tests, minutes / parts, f"{number}/{parts}" if parts > 1 else "")
        for name, tests, minutes, parts in shared
        for number in range(parts)
    ]
    # What is in no piece of its own.
    whole = {test for piece in made for test in piece.tests}
    files = {test.partition("::")[0] for test in whole}
    rest = sorted(
        str(path.relative_to(ROOT))
        for path in (ROOT / "tests" / "crash").glob("test_*.py")
        if str(path.relative_to(ROOT)) not in files
    )
    rest += [
        f"{power}lost_syncs_are_noticed",
        f"{power}a_relaxed_database_is_seen_to_lose",
        f"{engine}::test_the_oracle_imports_nothing_of_what_it_judges",
    ]
    return sorted([*made, Piece("the rest", tuple(rest), 3.5)], key=lambda piece: -piece.minutes)


@dataclass(frozen=True, slots=True)
class Run:
    """A piece that has ended."""

    piece: Piece
    seed: int
    status: int
    processor_s: float
    wall_s: float
    output: str

    def figures(self) -> Iterator[str]:
        """What it counted, and how it ended."""
        telling = False
        lines = self.output.splitlines()
        for line in lines:
            if line.startswith("="):
                telling = _FIGURES.match(line) is not None
            elif (telling and line.strip()) or line.startswith("SKIPPED"):
                yield line
        yield lines[-1].strip("= ") if lines else "no output"

    def row(self) -> str:
        """Its line of the table."""
        how = "passed" if self.status == 0 else f"FAILED ({self.status})"
        return (
            f"{self.piece!s:32} seed {self.seed:<11} {how:10} "
            f"processor {self.processor_s / 60:6.2f} min  wall {self.wall_s / 60:6.2f} min"
        )


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0))


def workers(of_cores: int) -> int:
    """How many pieces at a time keep so many cores busy: three for every two."""
    return (3 * of_cores + 1) // 2


def run(piece: Piece, seed: int, folder: Path, arguments: list[str]) -> Run:
    """Have pytest run a piece, in a folder of its own: of its own folders pytest keeps the last three."""
    number = int(piece.part.partition("/")[0] or 0)
    seed += number * 10_007  # parts draw different things
    command = [sys.executable, "-m", "pytest", *piece.tests]
    # One process, and a hang is for the timeout of each test.
    command += ["-p", "no:cacheprovider", "-o", "faulthandler_timeout=0"]
    command += [f"--basetemp={folder}", f"--hypothesis-seed={seed}", *arguments]
    environment = {**os.environ, "MEMDB_CRASH_SEED": str(seed), "MEMDB_CRASH_PART": piece.part}
    # Hundreds of interpreters are started: without bytecode each compiles all that it loads, which is a second or two.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    environment.setdefault("PYTHONPYCACHEPREFIX", str(folder.parent / "bytecode"))
    began_s = time.monotonic()
    with tempfile.TemporaryFile() as told:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=told,
            stderr=subprocess.STDOUT,
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        told.seek(0)
        output = told.read().decode("utf-8", "replace")
    if process.returncode == 0:
        shutil.rmtree(folder, ignore_errors=True)
    return Run(
        piece,
        seed,
        process.returncode,
        usage.ru_utime + usage.ru_stime,
        time.monotonic() - began_s,
        output,
    )


def tell(ended: Run) -> None:
    """Its figures; all that it said where it failed."""
    load = os.getloadavg()[0]
    print(f"--- {ended.row()}  load {load:.1f}")
    if ended.status:
        print(ended.output)
    for line in ended.figures():
        print(f"    {line}")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--workers",
        type=int,
        default=workers(cores()),
        help="pieces at a time; three for every two cores",
    )
    parser.add_argument(
        "--only", nargs="*", default=[], metavar="PIECE", help="by the begin of its name"
    )
    parser.add_argument("--list", action="store_true", help="name the pieces")
    parser.add_argument("arguments", nargs="*", help="for pytest, after --")
    given = parser.parse_args()
    chosen = [
        piece
        for piece in pieces()
        if not given.only or any(str(piece).startswith(name) for name in given.only)
    ]
    if given.list:
        for piece in chosen:
            print(f"{piece!s:32} {piece.minutes:4.1f} min  {' '.join(piece.tests)}")
        return 0
    seed = int(os.environ.get("MEMDB_CRASH_SEED") or random.SystemRandom().randrange(2**31))
    print(f"crash: {len(chosen)} pieces, {given.workers} at a time, seed {seed}", flush=True)
    if not HAS_EDGE:
        print("NOT TESTED: ready answers, since the native edge is not installed", flush=True)
    began_s = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="memdb-crash-"))
    with ThreadPoolExecutor(given.workers) as pool:
        waiting = [
            pool.submit(run, piece, seed, folder / str(number), given.arguments)
            for number, piece in enumerate(chosen)
        ]
        for ended in as_completed(waiting):
            tell(ended.result())
    runs = [one.result() for one in waiting]
    print(f"=== seed {seed}, again: MEMDB_CRASH_SEED={seed} make crash")
    for done in runs:
        print(done.row())
    spent = sum(done.processor_s for done in runs) / 60
    wall = (time.monotonic() - began_s) / 60
    failed = [str(done.piece) for done in runs if done.status]
    if failed:
        print(f"what they left: {folder}")
    else:
        shutil.rmtree(folder)
    print(
        f"processor {spent:.1f} min, so {spent / cores():.1f} min on {cores()} idle cores; "
        f"wall {wall:.1f} min; " + (f"FAILED: {', '.join(failed)}" if failed else "all passed")
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
