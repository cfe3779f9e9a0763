"""Damage to one user's file: a typed error or the right answer, never a wrong one; the others go on.

LMDB 0.9 keeps no checksums, so what our envelopes and counts do not see, nobody sees.

``MEMDB_DAMAGES``: copies that are damaged (default 280; `make crash`: 5,000).
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from memdb.config import EngineConfig, IndexConfig
from memdb.engine.database import EmbeddedDatabase
from memdb.store.schema import USER_TABLES
from tests.crash.conftest import SEED
from tests.crash.damage_child import Parts, told
from tests.crash.load import DIM, SPACE, STREAMS, clip_of, versions_of
from tests.crash.part import PART
from tests.crash.processes import ROOT

pytestmark = pytest.mark.crash

PAGE = 4096
PAGE_HEADER = 16
KINDS = ("bit", "bytes", "hidden entry", "table name", "zero page", "cut", "stale page")
"""The last, an old page where a new one should be (a write that the disk lost), is counted and not
judged: old pages are consistent with each other, and LMDB 0.9 pages do not say how old they are.
"""
CASES = PART.share(-(-int(os.environ.get("MEMDB_DAMAGES", "280")) // len(KINDS)))
"""Of each kind."""
FAULTS_MAX = 3
"""After so many there is nothing to be learned from more."""
MEMORY = Path("/dev/shm")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with two users who have a checkpoint, and something in every table."""
    data = tmp_path_factory.mktemp("damage") / "whole"
    config = EngineConfig(map_bytes_initial=1 << 20)
    index = IndexConfig(checkpoint_rows=1)
    with EmbeddedDatabase(data, config=config, index=index, embed_texts=False) as db:
        db.create_space(SPACE, dim=DIM)
        for name in ("alice", "bob"):
            user = db.user(name)
            for stream in STREAMS[:2]:
                for first in range(0, 24, 8):
                    user.stream(stream, space=SPACE).write_many(
                        [c for n in range(8) for c in versions_of(name, stream, first + n)]
                    )
            user.stream(STREAMS[2], space=SPACE).write(clip_of(name, STREAMS[2], 3))
            (clip,) = user.clips(limit=1)
            for number in range(6):
                user.remember(f"{name} says {number}", key=f"k{number % 4}", evidence=[clip.id])
            for number in range(4):
                user.put("diet", {"n": number})
            user.snapshot("now", ttl_s=30 * 86400)
    return data


class Looker:
    """A child that looks at damaged copies, and its successors when it dies."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def look(
        self, data: Path, turn: int | None = None, *, early: bool = False
    ) -> dict[str, str | Parts] | None:
        """The answers; None when the process died.  turn: not all of bob, see `damage_child`."""
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.crash.damage_child"],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            case = {"data": str(data), "turn": turn, "early": early}
            self._process.stdin.write(json.dumps(case) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if line:
            answers: dict[str, str | Parts] = json.loads(line)
            return answers
        self.close()
        return None

    def close(self) -> None:
        """End the child."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def damage(path: Path, kind: str, chosen: random.Random) -> None:
    """Damage a file."""
    content = bytearray(path.read_bytes())
    pages = len(content) // PAGE
    page = chosen.randrange(pages) * PAGE
    match kind:
        case "bit":
            content[chosen.randrange(len(content))] ^= 1 << chosen.randrange(8)
        case "bytes":
            for _ in range(16):
                content[chosen.randrange(len(content))] = chosen.randrange(256)
        case "hidden entry":
            # The page says that it holds one entry less: offset 10 flags, offset 12 end of pointers.
            leaves = [
                at
                for at in range(2 * PAGE, len(content), PAGE)
                if content[at + 10 : at + 12] == b"\x02\x00" and content[at + 12] > PAGE_HEADER + 2
            ]
            content[chosen.choice(leaves) + 12] -= 2
        case "table name":
            name = chosen.choice(list(USER_TABLES)).value.encode()
            places = [found.start() for found in re.finditer(re.escape(name), bytes(content))]
            content[chosen.choice(places)] ^= 1
        case "zero page":
            content[page : page + PAGE] = bytes(PAGE)
        case "stale page":
            other = chosen.randrange(pages) * PAGE
            content[page : page + PAGE] = content[other : other + PAGE]
        case "cut":
            size = chosen.choice((0, 1, PAGE, 2 * PAGE, page, chosen.randrange(len(content))))
            del content[size:]
    path.write_bytes(content)


def damaged_copy(whole: Path, folder: Path, alice: str, kind: str, chosen: random.Random) -> None:
    """A copy of the database with damage to the file of one user."""
    shutil.copytree(whole, folder)
    file = folder / "users" / alice / "data.mdb"
    was = file.stat()
    damage(file, kind, chosen)
    if file.stat().st_size == was.st_size:
        # A disk that forgets tells no time of it.
        os.utime(file, ns=(was.st_atime_ns, was.st_mtime_ns))


def judge(
    kind: str,
    answers: dict[str, str | Parts] | None,
    right: dict[str, str | Parts],
    seen: Counter[str],
) -> list[str]:
    """What must never be, in words."""
    if answers is None:
        seen[f"{kind}: process died"] += 1
        return ["the process died"]
    faults = []
    reported = answers.get("alice: damaged", {})
    lost = set(reported) if isinstance(reported, dict) else set()
    damaged = bool(lost)
    for what, answer in answers.items():
        if isinstance(answer, dict):
            expected = right[what]
            assert isinstance(expected, dict)
            if what.startswith("bob") and answer != expected:
                faults.append(f"{what}: another answer")
            faults += _parts_wrong(what, answer, expected, lost)
            if what == "alice: ground":
                stored = right["alice: clips"]
                assert isinstance(stored, dict)
                faults += [
                    f"{what}: {key} is not what is stored"
                    for key, part in answer.items()
                    if part and part.split()[0] != stored.get(key)
                ]
            damaged = damaged or answer != expected
        elif answer.startswith("UNTYPED"):
            faults.append(f"{what}: {answer}")
        elif answer.startswith("error"):
            damaged = True
            if what.startswith("bob"):
                faults.append(f"{what}: {answer}")
        elif what == "verify":
            damaged = damaged or answer == told(False)
        elif answer != right[what] and not (lost and what == "alice: long term"):
            faults.append(f"{what}: another answer")
    seen[f"{kind}: {'reported' if damaged else 'harmless'}"] += 1
    return faults


def _parts_wrong(
    what: str, answer: dict[str, str], expected: dict[str, str], lost: set[str]
) -> list[str]:
    """What an answer says that is not so, or leaves out though nobody says that it is damaged."""
    if what.endswith(": damaged"):
        return []
    grounds = ": ground" in what or ": recall" in what
    wrong = [
        f"{what}: {key} is another"
        for key, part in answer.items()
        if not key.startswith("damaged ")
        # What is lost makes room for others among the best.
        and part != "error"
        and part != expected.get(key)
        and not (grounds and lost)
    ]
    if ": recall" not in what:
        told_here = {key.removeprefix("damaged ") for key in answer}
        left_out = set(expected) - set(answer) - lost - told_here
        wrong += [f"{what}: {key} is left out" for key in left_out]
    return wrong


@pytest.mark.timeout(7200)
def test_damage_to_a_user_is_reported_never_served(
    whole: Path, directory: Path, report: Callable[[str], None]
) -> None:
    folder = (MEMORY if MEMORY.is_dir() else whole.parent) / f"memdb-damage-{SEED}"
    looker = Looker()
    seen: Counter[str] = Counter()
    faults: list[str] = []
    try:
        shutil.copytree(whole, folder)
        right = looker.look(folder)
        assert right is not None
        assert not any(str(answer).startswith(("UNTYPED", "error")) for answer in right.values())
        assert right["alice: damaged"] == {}
        users = sorted((whole / "users").iterdir(), key=lambda path: path.name)
        with EmbeddedDatabase(whole) as db:
            alice = db._directory.user_path("alice").name
        assert alice in {path.name for path in users}
        for kind in KINDS:
            chosen = random.Random(f"{SEED} {kind}")
            for case in range(CASES):
                if sum(not fault.startswith("stale page") for fault in faults) >= FAULTS_MAX:
                    break
                shutil.rmtree(folder)
                before = chosen.getstate()
                damaged_copy(whole, folder, alice, kind, chosen)
                answers = looker.look(folder, case, early=case % 2 == 0)
                bad = [f"{kind} {case}: {fault}" for fault in judge(kind, answers, right, seen)]
                faults += bad
                if bad and kind != "stale page":
                    # As it was before anybody looked.
                    chosen.setstate(before)
                    damaged_copy(whole, directory / f"{kind} {case}", alice, kind, chosen)
    finally:
        looker.close()
        shutil.rmtree(folder, ignore_errors=True)
    unseen = [fault for fault in faults if fault.startswith("stale page")]
    faults = [fault for fault in faults if not fault.startswith("stale page")]
    seen["stale page: another answer"] = len(unseen)
    report("damage: " + ", ".join(f"{what} {count}" for what, count in sorted(seen.items())))
    assert not faults, "\n".join(faults[:40]) + f"\n{len(faults)} in all"


@pytest.mark.parametrize("kind", ["zero", "cut", "bit"])
def test_damage_to_the_catalog_never_makes_users_disappear(
    whole: Path, tmp_path: Path, kind: str
) -> None:
    looker = Looker()
    chosen = random.Random(f"{SEED} catalog {kind}")
    try:
        for case in range(20):
            copy = tmp_path / str(case)
            shutil.copytree(whole, copy)
            catalog = copy / "catalog" / "data.mdb"
            content = bytearray(catalog.read_bytes())
            match kind:
                case "zero":
                    content[:] = bytes(len(content))
                case "cut":
                    del content[chosen.choice((0, 1, PAGE, 2 * PAGE, 3 * PAGE)) :]
                case "bit":
                    content[chosen.randrange(len(content))] ^= 1 << chosen.randrange(8)
            catalog.write_bytes(content)
            answers = looker.look(copy)
            assert answers is not None
            assert (answers["open"], answers["users"]) == ("yes", told(["alice", "bob"]))
            shutil.rmtree(copy)
    finally:
        looker.close()
