"""A program with the embedded database, killed at random and at every named failpoint, under load."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import memdb
from memdb import Ack
from memdb.config import DURABILITIES
from tests.crash.checks import Tally, check_user, resend
from tests.crash.conftest import EMBEDDED_KILLS, SEED, figures
from tests.crash.load import DIM, SPACE, Record, clip_of, versions_of
from tests.crash.processes import Embedded

pytestmark = pytest.mark.crash

ENCRYPTED = "encrypted"
EXIT = 137
"""Of a process that met its failpoint."""


def master_key(directory: Path) -> Path:
    """A file with one."""
    path = directory / "master.key"
    path.touch(mode=0o600)
    path.write_bytes(b"k" * 32)
    return path


def note(record: Record, lines: list[dict[str, object]]) -> None:
    """What the child told before it died."""
    for line in lines:
        if "answer" in line:
            record.answered(int(str(line["revision"])), str(line["answer"]))
        elif "stream" in line:
            stream, seq = str(line["stream"]), int(str(line["seq"]))
            (clip,) = [
                version
                for version in versions_of(record.user, stream, seq)
                if (version.sealed, version.end_ns) == (line["sealed"], line["end_ns"])
            ]
            ack = line["ack"]
            record.acknowledged(stream, clip, Ack(*ack) if isinstance(ack, list) else None)
        else:
            assert not line.get("errors"), line


def look(
    data: Path,
    record: Record,
    tally: Tally,
    before: set[tuple[str, int]],
    key: Path | None = None,
) -> None:
    """Open what is left, check it, send it again, and check that it verifies."""
    began_s = time.monotonic()
    with memdb.open(data, master_key_file=key) as db:
        db.create_space(SPACE, dim=DIM)
        tally.restart_s.append(time.monotonic() - began_s)
        fresh = set(record.acks) - before
        check_user(db, record, tally, SEED, fresh=fresh)
        resend(db, record, tally, fresh)
        for discrepancy in db.verify().discrepancies:
            tally.fault("diverged", str(discrepancy))


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("mode", [*DURABILITIES, ENCRYPTED])
def test_random_kills(directory: Path, report: Callable[[str], None], mode: str) -> None:
    key = master_key(directory) if mode == ENCRYPTED else None
    options = (
        {"MEMDB_ENGINE__DURABILITY": mode}
        if key is None
        else {"MEMDB_ENGINE__MASTER_KEY_FILE": str(key)}
    )
    moments = random.Random(SEED)
    tally, record = Tally(), Record("alice")
    for turn in range(EMBEDDED_KILLS):
        before = set(record.acks)
        with Embedded(directory / "data", record.user, **options) as child:
            child.line()
            early: list[dict[str, object]] = []
            # Every other life ends so long after its first acknowledgement: on a busy machine the rest
            # may end before theirs.
            while turn % 2 and not any("stream" in line for line in early):
                early.append(child.line())
            time.sleep(moments.uniform(5, 350) / 1000)
            child.kill()
            note(record, [*early, *child.rest()])
        look(directory / "data", record, tally, before, key)
        tally.cycles += 1
        if tally.faults:
            break
    tally.acked = len(record.acks)
    report(f"embedded, {mode}, random: {tally}")
    assert not tally.faults, "\n".join(tally.faults[:20])
    assert tally.acked > 0


POINTS = (
    *(f"{point}@{n}" for point in ("commit.before", "commit.after") for n in (3, 4, 9, 40)),
    *(f"{point}@{n}" for point in ("index.before", "index.after") for n in (1, 2, 7, 30)),
    *(f"create.{side}@{n}" for side in ("before_rename", "after_rename") for n in (1, 2)),
)
"""Commits 1 and 2 are the catalog's; environment 1 is the catalog, 2 the first user."""


@pytest.fixture(scope="module")
def points() -> Iterator[Tally]:
    """Figures over all failpoints, told once."""
    tally = Tally()
    yield tally
    figures().append(f"embedded, {tally.cycles} failpoints: {tally}")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("point", POINTS)
def test_a_failpoint(directory: Path, points: Tally, point: str) -> None:
    name, _, hit = point.partition("@")
    tally, record = Tally(), Record("alice")
    with Embedded(directory / "data", record.user, MEMDB_FAILPOINTS=f"{name}=exit@{hit}") as child:
        note(record, [line for line in child.rest() if "ready" not in line])
        assert child.process.wait(60) == EXIT
    look(directory / "data", record, tally, set())
    # A second run on what is left, killed, is looked at as well.
    before = set(record.acks)
    with Embedded(directory / "data", record.user) as child:
        child.line()
        time.sleep(0.05)
        child.kill()
        note(record, child.rest())
    look(directory / "data", record, tally, before)
    points.add(tally, acked=len(record.acks))
    assert not tally.faults, "\n".join(tally.faults[:20])
    left = sorted(path.name for path in (directory / "data").rglob(".new-*"))
    assert left == []


@pytest.mark.timeout(120)
@pytest.mark.parametrize("point", ["before_discard", "after_discard", "after_remove"])
def test_an_erasure_cut_short_is_all_or_nothing(directory: Path, point: str) -> None:
    data = directory / "data"
    with memdb.open(data) as db:
        db.create_space(SPACE, dim=DIM)
        for name in ("bob", "alice"):
            stream = db.user(name).stream("batched-0", space=SPACE)
            stream.write_many([clip_of(name, "batched-0", seq) for seq in range(8)])
    with Embedded(
        data, "alice", MEMDB_FAILPOINTS=f"erase.{point}=exit", MEMDB_CRASH_ERASE="0.05"
    ) as child:
        child.rest()
        assert child.process.wait(60) == EXIT
    with memdb.open(data) as db:
        assert db.verify().ok
        assert [clip.seq for clip in db.user("bob").clips()] == list(range(8))
        if point == "before_discard":
            assert db.users() == ["alice", "bob"]
            assert len(db.user("alice").clips(limit=8)) == 8
        else:
            assert db.users() == ["bob"]
            with pytest.raises(memdb.NotFound):
                db.user("alice").clips()
    assert list((data / "trash").iterdir()) == []
    alive = b"alice" if point != "before_discard" else b"\x00no such bytes"
    assert not any(
        alive in path.read_bytes() for path in data.rglob("*.mdb") if "users" in str(path)
    )
