"""After a compaction no file has what was forgotten, removed or given up, also after a kill at each of its steps."""

from __future__ import annotations

import json
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from memdb import Clip, Utterance
from memdb.engine.database import EmbeddedDatabase
from tests.crash.compact_child import INDEX, take_away
from tests.crash.forked_program import run_program

pytestmark = [pytest.mark.crash, pytest.mark.timeout(600)]

DIM = 16
CLIPS = 40
POINTS = (
    "erasure.begun",
    "erasure.before_compaction",
    "compact.before_rename",
    "compact.after_rename",
    "erasure.after_compaction",
)
"""Beside those of each commit, which `test_erase` kills at."""


def marker(*what: object) -> str:
    """16 letters that stand nowhere else."""
    return "M" + sha256("/".join(map(str, what)).encode()).hexdigest()[:15]


GONE = {
    "fact": marker("fact"),
    "revised": marker("fact", 2),
    "key of fact": marker("fact", "key"),
    "value": marker("value"),
    "older value": marker("value", 1),
    "question": marker("question"),
    "name of question": marker("question", "name"),
} | {f"transcript {seq}": marker("clip", seq) for seq in range(CLIPS - 1)}
KEPT = {"fact": marker("kept"), "value": marker("kept", 2), "transcript": marker("clip", CLIPS - 1)}


def clip(seq: int) -> Clip:
    return Clip(
        seq=seq,
        start_ns=seq * 10**9,
        end_ns=(seq + 1) * 10**9,
        global_memory=np.random.default_rng(seq).standard_normal(DIM).astype(np.float32),
        transcript=(Utterance(seq * 10**9, seq * 10**9 + 1, marker("clip", seq)),),
    )


def found_in(directory: Path, wanted: dict[str, str]) -> set[str]:
    """What is found in any file, by what it is."""
    content = b"".join(path.read_bytes() for path in directory.rglob("*") if path.is_file())
    return {what for what, text in wanted.items() if text.encode() in content}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which everything is planted."""
    data = tmp_path_factory.mktemp("compact") / "data"
    with EmbeddedDatabase(data, index=INDEX) as db:
        db.create_space("cam", dim=DIM)
        alice = db.user("alice")
        alice.stream("door", space="cam").write_many([clip(seq) for seq in range(CLIPS)])
        fact = alice.remember(GONE["fact"], about=["gone"], key=GONE["key of fact"])
        alice.revise(fact.id, text=GONE["revised"])
        alice.remember(KEPT["fact"])
        alice.put("gone", GONE["older value"])
        alice.put("gone", GONE["value"])
        alice.put("kept", KEPT["value"])
        alice.standing.create(
            np.ones(DIM, np.float32),
            min_score=0.5,
            text=GONE["question"],
            name=GONE["name of question"],
        )
    assert found_in(data, GONE) == set(GONE)
    assert found_in(data, KEPT) == set(KEPT)
    return data


def run(directory: Path, failpoint: str = "") -> subprocess.CompletedProcess[str]:
    arguments = str(directory), "alice"
    return run_program("tests.crash.compact_child", *arguments, MEMDB_FAILPOINTS=failpoint)


def check_compacted(directory: Path) -> None:
    """Nothing of what was taken away is in any file, and everything else is as it was."""
    assert found_in(directory, GONE) == set()
    assert found_in(directory, KEPT) == set(KEPT)
    with EmbeddedDatabase(directory, index=INDEX) as db:
        assert db.verify().ok
        assert db.user_state("alice") == "serving"
        alice = db.user("alice")
        (left,) = alice.clips()
        assert (left.seq, left.transcript[0].text) == (CLIPS - 1, KEPT["transcript"])
        assert left.global_memory.tobytes() == clip(CLIPS - 1).global_memory.tobytes()
        assert [known.text for known in alice.facts()] == [KEPT["fact"]]
        assert (alice.keys(), alice.get("kept")) == (["kept"], KEPT["value"])
        assert alice.standing.list() == []


@pytest.fixture
def directory(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "data"))


def test_what_is_taken_away_stays_in_freed_pages_until_a_compaction(directory: Path) -> None:
    with EmbeddedDatabase(directory, index=INDEX) as db:
        take_away(db, "alice")
    assert found_in(directory, GONE), "else there is nothing to look for"
    with EmbeddedDatabase(directory, index=INDEX) as db:
        report = db.user("alice").compact()
        assert report.bytes_before > report.bytes_after
    check_compacted(directory)


def test_a_compaction_passes_the_failpoints_that_are_killed_at(directory: Path) -> None:
    done = run(directory)
    assert done.returncode == 0
    commits = {"commit.before", "commit.after", "index.before", "index.after"}
    passed = set(json.loads(done.stdout))
    assert {point for point in passed - commits if not point.startswith("checkpoint.")} == {*POINTS}
    check_compacted(directory)


@pytest.mark.parametrize("point", POINTS)
def test_a_compaction_that_was_killed_is_finished(directory: Path, point: str) -> None:
    assert run(directory, f"{point}=exit@1").returncode == 137
    with EmbeddedDatabase(directory, index=INDEX) as db:
        db.user("alice").revision()  # what was begun is finished here
    check_compacted(directory)
