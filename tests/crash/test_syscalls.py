"""A system call fails once, wherever it may: nothing acknowledged is lost, nothing but a typed error shows.

strace makes the n-th call of a kind return an error to a real process.  ``MEMDB_SYSCALL_FAULTS`` says how
many such lives are lived (default 24; the full tier 1,000).
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from memdb import MemdbError
from memdb.engine.database import EmbeddedDatabase
from tests.crash.conftest import SEED
from tests.crash.fault_child import CONFIG, clip
from tests.crash.processes import ROOT

pytestmark = pytest.mark.crash

FAULTS = int(os.environ.get("MEMDB_SYSCALL_FAULTS", "24"))
CALLS = {
    # call: how many of them a thread of such a life makes, about
    "fdatasync": 42,
    "fsync": 28,
    "pwrite64": 200,
    "writev": 120,
    "write": 46,
    "ftruncate": 10,
    "rename": 10,
    "mkdir": 12,
    "unlink": 12,
    "mmap": 32,
    "openat": 110,
    "pread64": 24,
    "newfstatat": 160,
    "statfs": 46,
    "fcntl": 40,
    "getdents64": 18,
}
ERRORS = ("EIO", "ENOSPC", "ENOMEM")


def strace() -> str:
    found = shutil.which("strace")
    if found is None:
        assert not os.environ.get("CI"), "install strace"
        pytest.skip("strace is not installed")
    return found


def live(data: Path, call: str, error: str, at: int) -> tuple[list[dict[str, object]], int, str]:
    """What the child told, its status, and its errors."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.crash.fault_child", str(data)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    ready = child.stdout.readline()
    assert "ready" in ready, child.communicate()
    tracer = subprocess.Popen(
        [
            *(strace(), "-f", "-p", str(child.pid), "-o", os.devnull, "-e", f"trace={call}"),
            *("-e", f"inject={call}:error={error}:when={at}"),
        ],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert tracer.stderr is not None
    attached = tracer.stderr.readline()
    assert "attached" in attached, attached
    try:
        told, errors = child.communicate("go\n", timeout=60)
    finally:
        child.kill()
        tracer.communicate(timeout=60)
    return [json.loads(line) for line in told.splitlines()], child.returncode, errors


def lost(data: Path, told: list[dict[str, object]]) -> list[str]:
    """What was acknowledged and is not there, after an open without faults."""
    done = [line for line in told if "done" in line]
    if not any(line["done"] == "space" for line in done):
        return []
    faults: list[str] = []
    with EmbeddedDatabase(data, config=CONFIG, embed_texts=False) as db:
        gone = {one for line in done if line["done"] == "erase" for one in line["ids"]}  # type: ignore[attr-defined]
        erased_users = {line["user"] for line in done if line["done"] == "erase user"}
        erasing = [seq for line in told for seq in line.get("erasing", ())]  # type: ignore[attr-defined]
        for line in done:
            user = db.user(str(line.get("user", "alice")))
            try:
                if line["done"] == "write":
                    seq = int(str(line["seq"]))
                    wanted = clip("door", seq)
                    hits = user.ground(wanted.global_memory, limit=1).hits
                    if not hits or hits[0].clip.seq != seq:
                        if line["user"] != "bob" or seq not in erasing:
                            faults.append(f"clip {line['user']}/{seq} is lost")
                        continue
                    (short,) = user.short_memory([hits[0].clip.id])
                    if short.tobytes() != wanted.short_memory.tobytes():  # type: ignore[union-attr]
                        faults.append(f"clip {line['user']}/{seq} is torn")
                elif line["done"] == "value" and user.get("diet") != 7:
                    faults.append("a value is lost")
                elif line["done"] == "fact" and len(user.facts()) != 1:
                    faults.append("a fact is lost")
            except MemdbError as error:
                if line.get("user") not in erased_users:
                    faults.append(f"{line}: {error}")
        if gone & {found.id for found in db.user("bob").clips()}:
            faults.append("what was erased is there")
        if erased_users & set(db.users()):
            faults.append("a user that was erased is there")
        check = db.verify()
        faults += [f"verify: {item}" for item in check.discrepancies]
    return faults


@pytest.mark.timeout(3000)
def test_a_call_that_fails_costs_nothing_that_was_acknowledged(
    tmp_path: Path, report: Callable[[str], None]
) -> None:
    chosen = random.Random(f"{SEED} syscalls")
    seen: Counter[str] = Counter()
    bad: list[str] = []
    memory = Path("/dev/shm")
    folder = (memory if memory.is_dir() else tmp_path) / f"memdb-faults-{SEED}"
    for number in range(FAULTS):
        call = list(CALLS)[number % len(CALLS)]
        error = chosen.choice(ERRORS)
        at = chosen.randint(1, CALLS[call])
        where = f"{call} {error} at {at}"
        shutil.rmtree(folder, ignore_errors=True)
        told, status, errors = live(folder, call, error, at)
        if status != 0:
            bad.append(f"{where}: ended with {status}: {errors.strip()[-400:]}")
            continue
        failed = [line for line in told if "failed" in line]
        seen["felt" if failed else "not felt"] += 1
        for line in failed:
            seen[f"{line['error']} {line['reason']}"] += 1
            # A call that fails is no damage.
            if line["error"] in ("Internal", "DataLoss"):
                bad.append(f"{where}: {line}")
        bad += [f"{where}: {fault}" for fault in lost(folder, told)]
    shutil.rmtree(folder, ignore_errors=True)
    report(
        f"system calls: {FAULTS} faults, "
        + ", ".join(f"{what} {count}" for what, count in sorted(seen.items()))
    )
    assert not bad, "\n".join(bad[:20]) + f"\n{len(bad)} in all; MEMDB_CRASH_SEED={SEED}"


@pytest.mark.timeout(60)
def test_after_an_io_error_reads_go_on_and_writes_are_refused(tmp_path: Path) -> None:
    told, status, errors = live(tmp_path / "db", "fdatasync", "EIO", 12)
    assert status == 0, errors
    failed = [line for line in told if "failed" in line]
    assert failed
    first = told.index(failed[0])
    user = next(line["user"] for line in reversed(told[:first]) if "user" in line)
    later = [line for line in told[first:] if line.get("user") in (user, None)]
    assert {line["reason"] for line in failed} == {"READ_ONLY"}
    assert any(line.get("done") == "read" for line in later)
    assert any(line.get("done") == "write" and line["user"] != user for line in told)
    assert lost(tmp_path / "db", told) == []
