"""What is erased is in no file any more: markers are planted in every part of clips, and the files
are searched as bytes, also after a kill in the middle of the erasure.

``MEMDB_ERASE_MARKERS`` sizes it (default 800 strings; the full tier takes 20,000).
"""

from __future__ import annotations

import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

import memdb
from memdb import Clip, Keyframe, SoundEvent, Utterance
from memdb.types.arrays import Array

pytestmark = pytest.mark.crash

MARKERS = int(os.environ.get("MEMDB_ERASE_MARKERS", "800"))
PARTS = 8
"""Markers of one clip."""
CLIPS = MARKERS // (3 * PARTS)
"""Of each of the streams ``gone``, ``mixed`` and ``kept``."""
DIM = 16
SECOND_NS = 10**9
POINTS = (
    "erasure.begun=exit",
    "erasure.batch=exit@2",
    "commit.before=exit@3",
    "commit.after=exit@3",
    "erasure.before_compaction=exit",
    "compact.before_rename=exit",
    "compact.after_rename=exit",
    "erasure.after_compaction=exit",
    "erasure.before_compaction=exit@2",
    "compact.after_rename=exit@2",
)


def marker(stream: str, seq: int, part: int) -> bytes:
    """16 bytes that stand nowhere else, and are finite as float16 and float32."""
    digest = sha256(f"{stream}/{seq}/{part}".encode()).hexdigest()
    return ("M" + digest[:15]).encode()


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
        events=(SoundEvent(start_ns, start_ns + 1, text(4), 0.5),),
        keyframes=(Keyframe(start_ns, marker(stream, seq, 5) * 40),),
        labels={text(6): text(7)},
    )


def in_files(directory: Path) -> set[bytes]:
    """Every marker found in any file."""
    wanted = {
        marker(stream, seq, part)
        for stream in ("gone", "mixed", "kept")
        for seq in range(CLIPS)
        for part in range(PARTS)
    }
    found: set[bytes] = set()
    for path in directory.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            # 16-byte windows that begin with M, cheap to list even in large files.
            at = data.find(b"M")
            while at >= 0:
                if data[at : at + 16] in wanted:
                    found.add(data[at : at + 16])
                at = data.find(b"M", at + 1)
    return found


def expected() -> set[bytes]:
    return {
        marker(stream, seq, part)
        for stream in ("mixed", "kept")
        for seq in range(CLIPS)
        for part in range(PARTS)
        if stream == "kept" or seq % 2 == 0
    }


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    with memdb.open(data) as db:
        db.create_space("cam", dim=DIM)
        for user_id in ("alice", "bob"):
            user = db.user(user_id)
            for stream in ("gone", "mixed", "kept"):
                camera = user.stream(stream, space="cam")
                acks = camera.write_many(
                    [planted(stream, seq) for seq in range(CLIPS)]
                    if user_id == "alice"
                    else [
                        Clip(seq=n, start_ns=n, end_ns=n + 1, global_memory=np.ones(DIM, "<f4"))
                        for n in range(5)
                    ]
                )
                user.remember(f"of {stream}", evidence=[ack.clip_id for ack in acks[:2]])
    return data


def bytes_of(directory: Path, user_id: str) -> dict[str, str]:
    """Hashes of the files of a user, by name."""
    from memdb.store.directory import DataDirectory

    opened = DataDirectory(directory)
    path = opened.user_path(user_id)
    opened.close()
    return {entry.name: sha256(entry.read_bytes()).hexdigest() for entry in path.glob("data.mdb")}


def run(directory: Path, failpoint: str = "") -> int:
    environment = {**os.environ, "MEMDB_FAILPOINTS": failpoint}
    return subprocess.run(
        [sys.executable, "-m", "tests.crash.erase_child", str(directory), "alice"],
        env=environment,
        cwd=Path(__file__).parents[2],
        timeout=300,
    ).returncode


@pytest.mark.timeout(1800)
def test_erased_markers_are_in_no_file(directory: Path) -> None:
    assert len(in_files(directory)) == 3 * CLIPS * PARTS
    others = bytes_of(directory, "bob")
    assert run(directory) == 0
    assert in_files(directory) == expected()
    assert bytes_of(directory, "bob") == others
    with memdb.open(directory) as db:
        assert db.verify().ok
        kept = db.user("alice").clips(stream="kept", limit=1000)
        assert [found.seq for found in kept] == list(range(CLIPS))
        assert db.user("alice").clips(stream="mixed", limit=1000)[-1].labels


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("point", POINTS)
def test_an_erasure_that_was_killed_is_finished_at_the_next_open(
    directory: Path, point: str
) -> None:
    assert run(directory, point) == 137
    with memdb.open(directory) as db:
        user = db.user("alice")
        user.revision()
        streams = {info.name for info in user.streams()}
        if "gone" in streams:
            # Killed before the erasure was acknowledged as begun.
            assert point.startswith("commit.before")
            user.stream("gone").erase()
        odd = [c.id for c in user.clips(stream="mixed", limit=1000) if c.seq % 2]
        if odd:
            user.erase_clips(odd)
        assert db.verify().ok
    assert in_files(directory) == expected()
