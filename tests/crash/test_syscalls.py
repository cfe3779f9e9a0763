"""A system call fails once, wherever it may: nothing acknowledged is lost, nothing but a typed error shows.

strace makes the n-th call of a kind return an error to a real process (`tests.crash.faults`).
``MEMDB_SYSCALL_FAULTS``: lives that are lived (default 24; `make crash`: 1,000).
``MEMDB_SYSCALL_ONLY``: the one fault of the run, as ``call:error:n``.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from memdb import MemdbError
from memdb.engine.database import EmbeddedDatabase
from tests.crash.conftest import SEED
from tests.crash.fault_child import CONFIG, clip
from tests.crash.faults import Fault, FaultyLives, Life

pytestmark = pytest.mark.crash

FAULTS = int(os.environ.get("MEMDB_SYSCALL_FAULTS", "24"))
ONLY = os.environ.get("MEMDB_SYSCALL_ONLY", "")
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
    "flock": 3,
    "getdents64": 18,
}
ERRORS = ("EIO", "ENOSPC", "ENOMEM", "EDQUOT")


@pytest.fixture
def scratch() -> Iterator[Path]:
    """Memory, where there is some."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder).resolve()


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


def faults_of(life: Life) -> list[str]:
    """What is wrong with a life by what it told."""
    if life.status != 0:
        return [f"ended with {life.status}: {life.errors.strip()[-600:]}"]
    # A call that fails is no damage, and leaves nothing in the way of a second try.
    return [
        str(line)
        for line in life.failed
        if line["error"] in ("Internal", "DataLoss") or line["failed"] == "open again"
    ]


def drawn() -> list[Fault]:
    """The faults of this run."""
    if ONLY:
        return [Fault.parse(ONLY)]
    chosen = random.Random(f"{SEED} syscalls")
    calls = list(CALLS)
    return [
        Fault(call, chosen.choice(ERRORS), chosen.randint(1, CALLS[call]))
        for call in (calls[number % len(calls)] for number in range(FAULTS))
    ]


@pytest.mark.timeout(7200)
def test_a_call_that_fails_costs_nothing_that_was_acknowledged(
    scratch: Path, directory: Path, report: Callable[[str], None]
) -> None:
    seen: Counter[str] = Counter()
    bad: list[str] = []
    data, left = scratch / "data", scratch / "left"
    with FaultyLives(scratch) as lives:
        for fault in drawn():
            life = lives.live(data, fault)
            shutil.copytree(data, left)
            seen["felt" if life.failed else "not felt"] += 1
            seen.update(f"{line['error']} {line['reason']}" for line in life.failed)
            wrong = faults_of(life) or lost(data, life.told)
            if wrong:
                bad += [f"{fault}: {what}" for what in wrong]
                keep(fault, life, left, directory, report)
            shutil.rmtree(data)
            shutil.rmtree(left)
    report(
        f"system calls: {seen['felt'] + seen['not felt']} faults, {len(bad)} bad, "
        + ", ".join(f"{what} {count}" for what, count in sorted(seen.items()))
    )
    assert not bad, "\n".join(bad[:20]) + f"\n{len(bad)} in all; MEMDB_CRASH_SEED={SEED}"


def keep(
    fault: Fault, life: Life, left: Path, directory: Path, report: Callable[[str], None]
) -> None:
    """Keep what a life left, and say how to live it again."""
    kept = directory / str(fault)
    shutil.copytree(left, kept / "data", dirs_exist_ok=True)
    (kept / "told.json").write_text("\n".join(json.dumps(line) for line in life.told))
    (kept / "errors.txt").write_text(life.errors)
    report(
        f"kept {kept}; again: MEMDB_SYSCALL_ONLY={fault} python -m pytest "
        "tests/crash/test_syscalls.py -k costs_nothing"
    )


@pytest.mark.timeout(60)
def test_after_an_io_error_reads_go_on_and_writes_are_refused(scratch: Path) -> None:
    data = scratch / "data"
    with FaultyLives(scratch) as lives:
        life = lives.live(data, Fault("fdatasync", "EIO", 12))
    assert life.status == 0, life.errors
    told, failed = life.told, life.failed
    assert failed
    first = told.index(failed[0])
    user = next(line["user"] for line in reversed(told[:first]) if "user" in line)
    later = [line for line in told[first:] if line.get("user") in (user, None)]
    assert {line["reason"] for line in failed} == {"READ_ONLY"}
    assert any(line.get("done") == "read" for line in later)
    assert any(line.get("done") == "write" and line["user"] != user for line in told)
    assert lost(data, told) == []


# What each of these said was an exception of no type of ours, or kept the next try from an open.
@pytest.mark.parametrize(
    "fault",
    [
        "statfs:EIO:16",
        "rename:EIO:3",
        "mkdir:ENOMEM:5",
        "fsync:ENOSPC:10",
        "mmap:EIO:26",
        "mmap:EIO:10",
        "openat:EIO:1",
        "getdents64:EIO:1",
        "newfstatat:EIO:1",
    ],
)
def test_faults_that_were_found(fault: str, scratch: Path) -> None:
    data = scratch / "data"
    with FaultyLives(scratch) as lives:
        life = lives.live(data, Fault.parse(fault))
    assert faults_of(life) == []
    assert lost(data, life.told) == []
