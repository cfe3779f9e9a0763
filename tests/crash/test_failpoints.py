"""Every failpoint that there is, killed at over and over: what was acknowledged is there, and what was under
way is done or not begun.

``MEMDB_FAILPOINT_KILLS``: kills at each (default 1; `make crash`: 20), each time another time that the
program comes by.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import memdb
from memdb import FailedPrecondition
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.restore import restore, verify_archive
from memdb.store.archivekeys import KeyFiles
from memdb.store.rotation import rotate_master_key
from tests.crash.conftest import SEED
from tests.crash.part import PART
from tests.crash.power.check import faults_of
from tests.crash.power.log import Expected
from tests.crash.power.workload import CONFIG
from tests.crash.processes import Sweeper
from tests.crash.sweep_child import NEVER, NEW_KEY, OLD_KEY

pytestmark = pytest.mark.crash

KILLS = int(os.environ.get("MEMDB_FAILPOINT_KILLS", "1"))
SOURCE = Path(memdb.__file__).parent
EXIT = 137
IN_A_WORKER = ("assembly.",)
"""In the process that walks environments: its death is an error of whoever asked."""
BY_A_THREAD = ("checkpoint.",)
"""How often they pass depends on how soon the upkeep gets to it."""
CARRIED = ("backup.", "restore.", "rotation.", "assembly.", "keycopies.")


def names() -> list[str]:
    """Every failpoint."""
    return sorted(
        {
            name
            for path in SOURCE.rglob("*.py")
            for name in re.findall(r'failpoints\.hit\("([a-z_.]+)"\)', path.read_text("utf-8"))
        }
    )


def program_of(name: str) -> str:
    return "carry" if name.startswith(CARRIED) else "work"


@pytest.fixture(scope="module")
def scratch() -> Iterator[Path]:
    """Memory, where there is some: a kill loses nothing that was written."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder).resolve()


@pytest.fixture(scope="module")
def sweeper() -> Iterator[Sweeper]:
    with Sweeper() as found:
        yield found


def prepared(where: Path, program: str, template: Path) -> None:
    """What a program begins with."""
    shutil.rmtree(where, ignore_errors=True)
    if program == "work":
        where.mkdir()
    else:
        shutil.copytree(template, where)


@pytest.fixture(scope="module")
def template(scratch: Path, sweeper: Sweeper) -> Path:
    """A database that has seen all there is, its marks, and one that is encrypted."""
    where = scratch / "template"
    where.mkdir()
    assert sweeper.run("work", where, SEED, "") == 0
    key = where / "master.key"
    key.touch(mode=0o600)
    key.write_bytes(OLD_KEY)
    config = replace(CONFIG, master_key_file=str(key))
    with EmbeddedDatabase(where / "secret", config=config, embed_texts=False) as db:
        for user in ("alice", "bob"):
            db.user(user).put("k", user)
    return where


@pytest.fixture(scope="module")
def hits(scratch: Path, sweeper: Sweeper, template: Path) -> dict[str, int]:
    """How often the programs pass each failpoint."""
    passed: Counter[str] = Counter()
    for program in ("work", "carry"):
        where = scratch / "counted"
        prepared(where, program, template)
        mine = [name for name in names() if program_of(name) == program]
        armed = ",".join(f"{name}=exit@{NEVER}" for name in mine)
        assert sweeper.run(program, where, SEED, armed) == 0
        passed.update(json.loads((where / "hits.json").read_text()))
    for name in names():
        # They pass in another process, which tells nobody.
        if name.startswith(IN_A_WORKER):
            passed[name] = 1
    return passed


def expected_of(where: Path) -> Expected:
    """What the marks say must be there."""
    expected = Expected()
    for line in (where / "mark").read_bytes().splitlines():
        expected.mark(line)
    return expected


def faults_after(where: Path, program: str) -> list[str]:
    """What is wrong with what a killed program left."""
    faults: list[str] = []
    if program == "carry":
        faults += [
            f"{name} is damaged"
            for name in ("full", "since")
            if (where / name).exists() and not verify_archive(where / name).ok
        ]
        if (where / "copy").exists():
            with EmbeddedDatabase(where / "copy", config=CONFIG, embed_texts=False) as db:
                faults += [f"copy: {wrong}" for wrong in db.verify().discrepancies]
        faults += _again(where)
    return faults + faults_of(where / "data", expected_of(where).to_json())


def _again(where: Path) -> list[str]:
    """Rotate and back up once more: nothing is in the way, and nothing is left lying about."""
    try:
        rotate_master_key(where / "secret", OLD_KEY, NEW_KEY)
    except FailedPrecondition as error:
        # It had ended.
        if error.reason != "MASTER_KEY_MISMATCH":
            raise
    key = where / "master.key"
    key.write_bytes(NEW_KEY)
    config = replace(CONFIG, master_key_file=str(key))
    with EmbeddedDatabase(where / "secret", config=config, embed_texts=False) as db:
        faults = [f"secret: {wrong}" for wrong in db.verify().discrepancies]
        faults += _wrong_of("secret", db)
        db.backup(where / "keyed-again")
    keys = KeyFiles(str(key))
    restore(where / "keyed-again", where / "keyed-copy", keys=keys)
    with EmbeddedDatabase(where / "keyed-copy", config=config, embed_texts=False) as db:
        faults += _wrong_of("keyed-copy", db)
    faults += [
        f"{name} is damaged"
        for name in ("keyed", "forgotten")
        if (where / name).exists() and not verify_archive(where / name, keys=keys).ok
    ]
    with EmbeddedDatabase(where / "data", config=CONFIG, embed_texts=False) as db:
        db.backup(where / "again")
    if not verify_archive(where / "again").ok:
        faults.append("again is damaged")
    # A restore, as that of above, sweeps away what one that was killed has left.
    left = sorted(path.name for path in where.glob(".memdb-*"))
    for turn in range(50):
        if not left:
            break
        time.sleep(0.1)  # the worker of the one that was killed may not have noticed yet
        restore(where / "again", where / f"restored-{turn}")
        left = sorted(path.name for path in where.glob(".memdb-*"))
    return [*faults, *(f"{name} was left" for name in left)]


def _wrong_of(name: str, db: EmbeddedDatabase) -> list[str]:
    """What an encrypted database does not hold as it should; of carol it may hold all or nothing."""
    found = {user: db.user(user).get("k") for user in db.users()}
    if found.get("carol") in ("carol", None):  # made, and killed before its value was acknowledged
        found.pop("carol", None)
    return [] if found == {"alice": "alice", "bob": "bob"} else [f"{name} holds {found}"]


@pytest.mark.timeout(7200)
def test_kills_at_every_failpoint(
    scratch: Path,
    directory: Path,
    sweeper: Sweeper,
    template: Path,
    hits: dict[str, int],
    report: Callable[[str], None],
) -> None:
    chosen = random.Random(f"{SEED} failpoints")
    where = scratch / "swept"
    kills = 0
    bad: list[str] = []
    mine = PART.among(names())
    for name in mine:
        program = program_of(name)
        assert hits[name], f"no program passes {name}"
        for _ in range(KILLS):
            often = hits[name] // 2 if name.startswith(BY_A_THREAD) else hits[name]
            point = f"{name}=exit@{chosen.randint(1, max(1, often))}"
            prepared(where, program, template)
            status = sweeper.run(program, where, SEED, point)
            if status == 0 and name.startswith(BY_A_THREAD):
                # The upkeep came by less often than when it was counted: it has so much to do, or so little time.
                point = f"{name}=exit@1"
                prepared(where, program, template)
                status = sweeper.run(program, where, SEED, point)
            if status != (1 if name.startswith(IN_A_WORKER) else EXIT):
                bad.append(f"{point}: ended with {status}")
                continue
            kills += 1
            faults = faults_after(where, program)
            if faults:
                bad += [f"{point}: {fault}" for fault in faults[:3]]
                kept = directory / point
                shutil.copytree(where, kept)
    shutil.rmtree(where, ignore_errors=True)
    report(f"failpoints: {len(mine)} of {len(names())} points, {kills} kills, {len(bad)} bad")
    assert not bad, "\n".join(bad[:20]) + f"\n{len(bad)} in all; MEMDB_CRASH_SEED={SEED}"
    assert len(names()) >= 25
