"""What is erased is in no file any more: markers are planted in every part of what a user has, and
the files are searched as bytes, also after a kill at each step of the erasures.

``MEMDB_ERASE_MARKERS`` sizes it (default 800 strings; the full tier takes 20,000, and kills at more
hits of each failpoint).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

import memdb
from memdb import Clip, Keyframe, SoundEvent, Utterance
from memdb.engine.database import EmbeddedDatabase
from memdb.index.directions import prepared_rows
from memdb.index.planes import padded, split
from memdb.store.derived import DERIVED_FILE
from memdb.store.directory import DataDirectory
from memdb.types.arrays import Array
from memdb.types.database import User
from tests.crash.erase_child import INDEX, erase_planted
from tests.crash.forked_program import run_program
from tests.crash.part import PART

pytestmark = [pytest.mark.crash, pytest.mark.timeout(1800)]

MARKERS = int(os.environ.get("MEMDB_ERASE_MARKERS", "800"))
FULL = MARKERS >= 20_000
PARTS = 9
"""Markers of one clip."""
FACT_PARTS = 3
STREAMS = ("gone", "mixed", "kept", "whole")
"""The last is the one of the user who is erased whole."""
OF_CLIP = {
    "gone": PARTS + FACT_PARTS,
    "mixed": PARTS,
    "kept": PARTS,
    "whole": PARTS + FACT_PARTS + 2,
}
CLIPS = -(-MARKERS // sum(OF_CLIP.values()))
"""Of each stream."""
DIM = 16
SECOND_NS = 10**9
POINTS = (
    "erasure.begun",
    "erasure.batch",
    "commit.before",
    "commit.after",
    "index.before",
    "index.after",
    "erasure.before_compaction",
    "compact.before_rename",
    "compact.after_rename",
    "erasure.after_compaction",
    "erase.before_discard",
    "erase.after_discard",
    "shred.after",
    "erase.after_remove",
    "catalog.marked",
    "catalog.forgotten",
    "checkpoint.writing",
    "checkpoint.before_rename",
    "checkpoint.after_rename",
)


def marker(*what: object) -> bytes:
    """16 bytes that stand nowhere else, and are finite as float16 and float32."""
    return ("M" + sha256("/".join(map(str, what)).encode()).hexdigest()[:15]).encode()


GONE = marker("name of", "gone").decode()
WHOLE = marker("name of", "whole").decode()
CAROL = marker("name of", "carol").decode()
NAME_OF = {"gone": GONE, "mixed": "mixed", "kept": "kept", "whole": WHOLE}
NAMES = {name.encode() for name in (GONE, WHOLE, CAROL)}


def markers(stream: str, seqs: Iterable[int]) -> set[bytes]:
    """Of everything that belongs to clips of a stream."""
    return {marker(stream, seq, part) for seq in seqs for part in range(OF_CLIP[stream])}


def as_array(text: bytes, dtype: str, size: int) -> Array:
    return np.frombuffer((text * size)[: size * np.dtype(dtype).itemsize], dtype)


def planted(stream: str, seq: int) -> Clip:
    def text(part: int) -> str:
        return marker(stream, seq, part).decode()

    start_ns = seq * 10 * SECOND_NS
    return Clip(
        seq=seq,
        start_ns=start_ns,
        end_ns=start_ns + 10 * SECOND_NS,
        global_memory=as_array(marker(stream, seq, 0), "<f4", DIM),
        short_memory=as_array(marker(stream, seq, 1), "<f2", 8 * DIM).reshape(8, DIM),
        transcript=(Utterance(start_ns, start_ns + 1, text(2), speaker=text(3)),),
        transcript_features=as_array(marker(stream, seq, 8), "<f4", DIM).reshape(1, DIM),
        events=(SoundEvent(start_ns, start_ns + 1, text(4), 0.5),),
        keyframes=(Keyframe(start_ns, marker(stream, seq, 5) * 40),),
        labels={text(6): text(7)},
    )


def plant(user: User, stream: str) -> None:
    """Write a stream, and what its user knows of it."""
    camera = user.stream(NAME_OF[stream], space="cam")
    acks = camera.write_many([planted(stream, seq) for seq in range(CLIPS)])
    camera.set_retention(memdb.Retention(max_clips=10**6))
    for seq, ack in enumerate(acks):
        text = [marker(stream, seq, part).decode() for part in range(OF_CLIP[stream])][PARTS:]
        if text:
            about = [NAME_OF[stream], text[1]]
            user.remember(text[0], about=about, key=text[2], evidence=[ack.clip_id])
        if len(text) > FACT_PARTS:
            user.put(text[3], {"is": text[4]})
        elif seq < 2:
            user.remember(f"of {stream} {seq}", evidence=[ack.clip_id])


def head_of(text: bytes) -> bytes:
    """The upper halves of the row that an index makes of a vector with this marker."""
    row = prepared_rows(as_array(text, "<f4", DIM)[None], cosine=True)
    head, tail = (np.empty((1, padded(DIM)), dtype) for dtype in ("<u2", "<i2"))
    split(row, head, tail)
    return head.tobytes()


def in_files(directory: Path) -> set[bytes]:
    """Every marker found in any file or its name, rows of indexes included."""
    found: set[bytes] = set()
    for path in directory.rglob("*"):
        found.update(re.findall(rb"M[0-9a-f]{15}", path.name.encode()))
        if path.is_file():
            content = path.read_bytes()
            found.update(re.findall(rb"M[0-9a-f]{15}", content))
            if DERIVED_FILE in path.name:
                found.update(text for head, text in HEADS.items() if head in content)
    return found & EVERYTHING


EVERYTHING = NAMES.union(*(markers(stream, range(CLIPS)) for stream in STREAMS))
HEADS = {
    head_of(marker(stream, seq, 0)): marker(stream, seq, 0)
    for stream in STREAMS
    for seq in range(CLIPS)
}
KEPT = markers("kept", range(CLIPS)) | markers("mixed", range(0, CLIPS, 2))


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which everything is planted."""
    data = tmp_path_factory.mktemp("erase") / "data"
    with EmbeddedDatabase(data, index=INDEX) as db:
        db.create_space("cam", dim=DIM)
        for user_id, streams in (("alice", STREAMS[:3]), (CAROL, STREAMS[3:])):
            db.user(user_id).configure(text_space="cam")
            for stream in streams:
                plant(db.user(user_id), stream)
        bob = db.user("bob")
        bob.stream("door", space="cam").write_many(
            [
                Clip(seq=n, start_ns=n, end_ns=n + 1, global_memory=np.ones(DIM, "<f4"))
                for n in range(5)
            ]
        )
    assert in_files(data) == EVERYTHING
    assert len([*data.rglob(DERIVED_FILE)]) == 3, "rows of every user's index lie in a file"
    return data


@pytest.fixture
def directory(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "data"))


def bytes_of(directory: Path, user_id: str) -> str:
    """Hash of the data file of a user."""
    opened = DataDirectory(directory)
    path = opened.user_path(user_id)
    opened.close()
    return sha256((path / "data.mdb").read_bytes()).hexdigest()


def content_of(directory: Path, stream: str, step: int) -> str:
    """Hash of what every n-th clip of a stream of alice is, to the last bit."""
    digest = sha256()
    with EmbeddedDatabase(directory, index=INDEX) as db:
        user = db.user("alice")
        for clip in user.clips(stream=stream, limit=1000):
            if clip.seq % step == 0:
                (short,) = user.short_memory([clip.id])
                for tensor in (clip.global_memory, short):
                    digest.update(tensor.tobytes())
                frames = [(frame.time_ns, frame.jpeg) for frame in clip.keyframes]
                said = (clip.transcript, clip.events, frames, sorted(clip.labels.items()))
                digest.update(repr((clip.id, clip.seq, clip.start_ns, *said)).encode())
    return digest.hexdigest()


def state_of(directory: Path) -> tuple[str, str, str]:
    """What no erasure may change: the file of another user, and the content of clips that stay."""
    kept = content_of(directory, "kept", 1), content_of(directory, "mixed", 2)
    return bytes_of(directory, "bob"), *kept


@pytest.fixture(scope="module")
def before(original: Path) -> tuple[str, str, str]:
    """`state_of` before anything is erased."""
    return state_of(original)


def run(directory: Path, failpoint: str = "") -> subprocess.CompletedProcess[str]:
    arguments = str(directory), "alice", GONE, CAROL
    return run_program("tests.crash.erase_child", *arguments, MEMDB_FAILPOINTS=failpoint)


@pytest.fixture(scope="module")
def passed(original: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """How often the erasures pass each failpoint."""
    copied = Path(shutil.copytree(original, tmp_path_factory.mktemp("count") / "data"))
    done = run(copied)
    assert done.returncode == 0
    found: dict[str, int] = json.loads(done.stdout)
    shutil.rmtree(copied)
    return found


def check_erased(directory: Path, before: tuple[str, str, str]) -> None:
    """Everything that was to be erased is, and nothing else."""
    with EmbeddedDatabase(directory, index=INDEX) as db:
        assert db.verify().ok
        assert db.users() == ["alice", "bob"]
        alice = db.user("alice")
        assert [info.name for info in alice.streams()] == ["kept", "mixed"]
        assert [c.seq for c in alice.clips(stream="kept", limit=1000)] == list(range(CLIPS))
        assert all(fact.evidence or "of gone" in fact.text or "of mixed 1" in fact.text
                   for fact in alice.facts())  # fmt: skip
    assert in_files(directory) == KEPT
    assert state_of(directory) == before


@pytest.mark.timeout(1800)
def test_erased_markers_are_in_no_file(
    directory: Path, before: tuple[str, str, str], report: Callable[[str], None]
) -> None:
    assert run(directory).returncode == 0
    check_erased(directory, before)
    gone = len(EVERYTHING - KEPT)
    report(f"erase: {len(EVERYTHING)} markers planted, {gone} erased, 0 of them found")


def test_the_erasures_pass_no_failpoint_that_is_not_killed_at(passed: dict[str, int]) -> None:
    assert set(passed) == set(POINTS)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("point", PART.among(POINTS))
def test_an_erasure_that_was_killed_is_finished(
    original: Path,
    tmp_path: Path,
    before: tuple[str, str, str],
    passed: dict[str, int],
    point: str,
    report: Callable[[str], None],
) -> None:
    hits = chosen(point, passed[point])
    for hit in hits:
        directory = Path(shutil.copytree(original, tmp_path / f"data-{hit}"))
        assert run(directory, f"{point}=exit@{hit}").returncode == 137
        with EmbeddedDatabase(directory, index=INDEX) as db:
            db.user("alice").revision()  # what was begun is finished here
            erase_planted(db, "alice", GONE, CAROL)  # what was not begun
        check_erased(directory, before)
        shutil.rmtree(directory)
    report(f"erase: killed at {len(hits)} of {passed[point]} hits of {point}, 0 markers found")


def chosen(point: str, hits: int) -> list[int]:
    """Hits to kill at: the first and the last; in the full tier two more near the end, since many are of the
    facts that are forgotten first.
    """
    if point.startswith("checkpoint."):
        return [1]  # how often they pass depends on the clock
    return sorted({1, max(1, hits - 9), max(1, hits - 4), hits} if FULL else {1, hits})
