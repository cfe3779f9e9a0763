"""A user with strings planted in every part of its clips, and the search for them in files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from memdb import Clip, Keyframe, Utterance
from memdb.clock import ManualClock
from memdb.config import EngineConfig
from memdb.engine.database import EmbeddedDatabase
from memdb.types.arrays import Array
from tests.unit.engine.conftest import CONFIG, SECOND_NS

DIM = 8
CLIPS = 6
PARTS = ("words", "label", "frame", "short", "vector", "feature")


def mark(stream: str, seq: int, part: str) -> bytes:
    """16 bytes that stand nowhere else and are finite as float16 and float32."""
    return f"{stream[:4]:J<4}{part[:4]:J<4}{seq:04}PLAN".encode()


def as_array(text: bytes, dtype: str, size: int) -> Array:
    return np.frombuffer((text * size)[: size * np.dtype(dtype).itemsize], dtype)


def planted(stream: str, seq: int) -> Clip:
    start_ns = seq * 10 * SECOND_NS
    return Clip(
        seq=seq,
        start_ns=start_ns,
        end_ns=start_ns + 10 * SECOND_NS,
        global_memory=as_array(mark(stream, seq, "vector"), "<f4", DIM),
        short_memory=as_array(mark(stream, seq, "short"), "<f2", 8 * DIM).reshape(8, DIM),
        keyframes=(Keyframe(seq, mark(stream, seq, "frame") * 3),),
        transcript=(Utterance(start_ns, start_ns + 1, mark(stream, seq, "words").decode()),),
        transcript_features=as_array(mark(stream, seq, "feature"), "<f4", DIM).reshape(1, DIM),
        labels={"zone": mark(stream, seq, "label").decode()},
    )


def found(folder: Path) -> set[bytes]:
    """Every planted string in any file."""
    data = b"\0".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    return {
        mark(stream, seq, part)
        for stream in ("door", "yard")
        for seq in range(CLIPS)
        for part in PARTS
        if mark(stream, seq, part) in data
    }


def all_of(stream: str, seqs: list[int]) -> set[bytes]:
    return {mark(stream, seq, part) for seq in seqs for part in PARTS}


def made(folder: Path, clock: ManualClock, config: EngineConfig = CONFIG) -> tuple[Path, list[str]]:
    """Two streams of six clips; closed.  The user's directory, and the ids of ``door``."""
    with EmbeddedDatabase(folder / "data", config=config, clock=clock) as db:
        db.create_space("cam", dim=DIM)
        user = db.user("alice")
        user.configure(text_space="cam")
        acks = {
            stream: [
                user.stream(stream, space="cam").write(planted(stream, seq)) for seq in range(CLIPS)
            ]
            for stream in ("door", "yard")
        }
        for stream, of in acks.items():
            user.remember(f"of {stream}", evidence=[ack.clip_id for ack in of])
        path = db._directory.user_path("alice")
    everything = all_of("door", list(range(CLIPS))) | all_of("yard", list(range(CLIPS)))
    assert found(folder) == (set() if config.master_key_file else everything)
    return path, [ack.clip_id for ack in acks["door"]]
