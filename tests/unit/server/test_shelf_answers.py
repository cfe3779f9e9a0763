"""Answers of the shelf beside Python's, byte for byte, over lives of odd users; and plain questions are answered."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memdb import Clip, Keyframe, MemdbError, Retention, SoundEvent, Utterance
from memdb.clock import ManualClock
from memdb.config import EngineConfig
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.prepared import CLIP_BYTES_MAX
from memdb.types.arrays import Array
from memdb.v1 import grounding_service_pb2 as pb
from memdb.v1 import types_pb2

pytest.importorskip("memdb_edge", reason="the native edge is not installed")

from tests.unit.server.ready import Python, lay_ready, made_shelf, parts_of

SECOND_NS = 10**9
T0_NS = 1_700_000_000 * SECOND_NS + 123_456_789
DIMS = (1, 3, 8, 17, 64, 130, 384, 1536)
LIVES = 24
QUESTIONS = 30
ROUNDS = 4
TIME_NS_MAX = 2**62
CLIP_BYTES = 2000
"""Of a clip beside its vector, at most."""


def odd_vector(draw: random.Random, dim: int, known: list[Array]) -> Array:
    """Equal to another or its opposite, of few values (scores of exactly 0), next to nothing, huge, of float16."""
    chance = draw.random()
    if known and chance < 0.2:
        return draw.choice(known)
    if known and chance < 0.3:
        return -draw.choice(known)
    vector = np.array([draw.gauss(0, 1) for _ in range(dim)], np.float32)
    if chance < 0.4:
        vector = np.sign(vector.round())
    elif chance < 0.5:
        vector = np.zeros(dim, np.float32)
        vector[draw.randrange(dim)] = draw.choice([1, -1])
    elif chance < 0.6:
        vector *= np.float32(draw.choice([1e-45, 1e-38, 1e-20, 1e15, 1e37]))
    elif chance < 0.7:
        vector = (vector * draw.choice([6e-8, 1000])).astype(np.float16)
    if not vector.any():
        vector[draw.randrange(dim)] = 1
    known.append(vector)
    return vector


@dataclass
class Life:
    """A user, and what was written of it."""

    db: EmbeddedDatabase
    clock: ManualClock
    draw: random.Random
    dim: int
    streams: list[str]
    gaps: bool
    next_seq: dict[str, int] = field(default_factory=dict)
    vectors: list[Array] = field(default_factory=list)
    times: list[int] = field(default_factory=lambda: [T0_NS])

    def __post_init__(self) -> None:
        self.db.create_space("cam", dim=self.dim)
        self.user = self.db.user("alice")

    def clip(self, seq: int, *, sealed: bool) -> Clip:
        draw = self.draw
        start_ns = T0_NS + (seq // 2) * SECOND_NS
        end_ns = start_ns + draw.choice([0, 1, SECOND_NS, 3 * SECOND_NS])
        self.times += [start_ns, end_ns]
        utterances = [
            Utterance(start_ns, end_ns, draw.choice(["hi", "h\u00e9 \U0001f408", "x" * 300]))
            for _ in range(draw.choice([0, 0, 1, 3]))
        ]
        return Clip(
            seq=seq,
            start_ns=start_ns,
            end_ns=end_ns,
            global_memory=odd_vector(draw, self.dim, self.vectors),
            short_memory=np.ones((2, self.dim), np.float16) if draw.random() < 0.3 else None,
            keyframes=tuple(
                Keyframe(start_ns, draw.randbytes(draw.choice([1, 40])))
                for _ in range(draw.choice([0, 1, 2]))
            ),
            transcript=tuple(utterances),
            events=(SoundEvent(start_ns, end_ns, "bell", 0.5),) if draw.random() < 0.3 else (),
            labels={"zone": str(seq % 3), "side": ""} if draw.random() < 0.4 else {},
            sealed=sealed,
        )

    def write(self) -> None:
        stream = self.draw.choice(self.streams)
        seq = self.next_seq.get(stream, 0)
        if self.gaps and self.draw.random() < 0.2:
            seq += self.draw.randint(1, 3)
        sealed = self.draw.random() < 0.7
        handle = self.user.stream(stream, space="cam")
        for _ in range(1 if sealed else self.draw.randint(1, 3)):
            with suppress(MemdbError):  # a version that ends before the one before it
                handle.write(self.clip(seq, sealed=sealed))
        self.next_seq[stream] = seq + sealed

    def change(self) -> None:
        """Something else than one more clip."""
        draw = self.draw
        with suppress(MemdbError):
            chance = draw.random()
            if chance < 0.3:
                ids = [clip.id for clip in self.user.clips(limit=100)]
                self.user.erase_clips(draw.sample(ids, min(len(ids), draw.randint(1, 3))))
            elif chance < 0.5:
                stream = self.user.stream(draw.choice(self.streams))
                stream.set_retention(
                    draw.choice([Retention(max_clips=4), Retention(keyframes_age_s=1), None])
                )
                self.clock.advance(10 * SECOND_NS)
                self.db.sweep()
            elif chance < 0.6:
                self.user.stream(draw.choice(self.streams)).erase(end_ns=T0_NS + SECOND_NS)
            elif chance < 0.7:
                name = draw.choice(self.streams)
                self.user.stream(name).erase()
                self.next_seq.pop(name, None)
            elif chance < 0.8:
                self.user.compact()
            else:
                self.user.remember("it rains")

    def question(self) -> pb.GroundRequest:
        """One that is plain, as far as it may be told without the user."""
        draw = self.draw
        feature = odd_vector(draw, self.dim, self.vectors).astype(np.float32)
        asked = pb.GroundRequest(
            user="alice",
            question_feature=types_pb2.Vector(f32=feature.tobytes()),
            limit=draw.choice([0, 1, 2, 5, 32, 64]),
            policy=draw.choice(["", "top"]),
            fallback=draw.choice(["", "none"]),
            weighting=draw.choice(["", "idf"]),
            exact=draw.random() < 0.2,
        )
        if draw.random() < 0.5:
            names = draw.sample(self.streams, min(len(self.streams), draw.randint(1, 4)))
            asked.streams.extend(names)
        near = draw.choice(self.times) + draw.choice([-1, 0, 0, 1])
        if draw.random() < 0.4:
            asked.start_ns = near
        if draw.random() < 0.4:
            after = near if asked.HasField("start_ns") else 0
            asked.end_ns = max(draw.choice(self.times) + draw.choice([-1, 0, 1]), after + 1)
        if draw.random() < 0.05:
            asked.start_ns, asked.end_ns = 0, TIME_NS_MAX
        return asked

    def odd(self, asked: pb.GroundRequest) -> None:
        """Make it one that is Python's, or may be."""
        draw = self.draw
        feature = np.frombuffer(asked.question_feature.f32, np.float32)
        broken = feature.copy()
        broken[draw.randrange(self.dim)] = draw.choice([np.nan, np.inf, -np.inf])
        vector = asked.question_feature
        within = draw.choice(self.times) + SECOND_NS + 1  # a clip of three seconds
        changes: list[Any] = [
            lambda: asked.MergeFrom(pb.GroundRequest(min_score=draw.choice([-2.0, 0.0, 0.5]))),
            lambda: asked.MergeFrom(pb.GroundRequest(min_relevance=0.5)),
            lambda: asked.MergeFrom(pb.GroundRequest(fallback="recent")),
            lambda: asked.MergeFrom(pb.GroundRequest(policy=draw.choice(["ixc-live", "mine"]))),
            lambda: asked.MergeFrom(pb.GroundRequest(weighting="uniform")),
            lambda: asked.MergeFrom(pb.GroundRequest(space=draw.choice(["cam", "none"]))),
            lambda: asked.MergeFrom(pb.GroundRequest(explain=True)),
            lambda: asked.MergeFrom(pb.GroundRequest(with_short_memory=True)),
            lambda: asked.MergeFrom(pb.GroundRequest(with_coverage=True)),
            lambda: asked.MergeFrom(pb.GroundRequest(cursor="")),
            lambda: asked.MergeFrom(
                pb.GroundRequest(limit=draw.choice([65, 1000, 1001, 2**32 - 1]))
            ),
            lambda: asked.MergeFrom(
                pb.GroundRequest(user=draw.choice(["bob", "alice\x03", "Alice"]))
            ),
            lambda: asked.streams.extend(["none"]),
            lambda: asked.streams.extend(self.streams[:5] * 2),
            lambda: asked.labels.add(key="zone", values=["1"]),
            lambda: asked.MergeFrom(pb.GroundRequest(start_ns=within, end_ns=within)),
            lambda: asked.MergeFrom(pb.GroundRequest(start_ns=within, end_ns=within - 1)),
            lambda: asked.MergeFrom(
                pb.GroundRequest(start_ns=draw.choice([-1, -(2**62), 2**63 - 1]))
            ),
            lambda: asked.MergeFrom(pb.GroundRequest(end_ns=draw.choice([0, -1, 2**62 + 1]))),
            lambda: asked.ClearField("question_feature"),
            lambda: vector.MergeFrom(types_pb2.Vector(f32=broken.tobytes())),
            lambda: vector.MergeFrom(types_pb2.Vector(f32=bytes(4 * self.dim))),
            lambda: vector.MergeFrom(types_pb2.Vector(f32=vector.f32 + bytes(4))),
            lambda: vector.MergeFrom(types_pb2.Vector(f32=vector.f32[:-1])),
            lambda: vector.MergeFrom(types_pb2.Vector(f16=np.ones(self.dim, np.float16).tobytes())),
        ]
        draw.choice(changes)()


def answered(python: Python, data: bytes) -> bytes | None:
    try:
        return python.answer(data)
    except MemdbError:
        return None


def check(life: Life, python: Python) -> tuple[int, int]:
    """Lay the user ready and ask; questions that the shelf answered, and how many were plain."""
    shelf = made_shelf(life.db)
    keyframes, global_memory = life.draw.random() < 0.7, life.draw.random() < 0.7
    parts = parts_of(global_memory=global_memory, keyframes=keyframes)
    lay_ready(life.db, shelf, "alice", parts)
    with life.db._users.use("alice") as memory:
        view = memory.view
        names = {stream.no: stream.name for stream in view.state.streams.values()}
        rows = sum(partition.rows for partition in view.partitions.values())
        is_whole = not view.gaps(names, view.revision)
    is_ready = shelf.native.users == 1
    if is_ready:
        assert is_whole
    else:
        assert not is_whole or not 0 < rows * (4 * life.dim + CLIP_BYTES) < CLIP_BYTES_MAX
    count = plain = 0
    for _ in range(QUESTIONS):
        asked = life.question()
        asked.without_global_memory = not global_memory
        asked.without_keyframes = not keyframes
        is_plain = life.draw.random() < 0.7
        if not is_plain:
            life.odd(asked)
        if life.draw.random() < 0.1:
            asked.without_keyframes = keyframes
            is_plain = False
        data = asked.SerializeToString()
        found, wanted = shelf.native.answer(data), answered(python, data)
        if found is not None:
            assert found == wanted
            count += 1
        elif is_ready and is_plain:
            assert wanted is None or not pb.GroundResponse.FromString(wanted).hits
        plain += is_plain
    return count, plain


@pytest.fixture
def life(request: pytest.FixtureRequest, folder: Path) -> Iterator[Life]:
    draw = random.Random(request.param)
    clock = ManualClock(T0_NS)
    config = EngineConfig(map_bytes_initial=1 << 20, disk_free_bytes_min=1 << 20)
    with EmbeddedDatabase(folder / "data", config=config, clock=clock) as db:
        streams = [f"cam-{number}" for number in range(draw.choice([1, 1, 2, 3, 16]))]
        yield Life(db, clock, draw, draw.choice(DIMS), streams, gaps=draw.random() < 0.2)


@pytest.mark.parametrize("life", range(LIVES), indirect=True)
def test_the_shelf_answers_as_python_does(life: Life) -> None:
    python = Python(life.db)
    count = 0
    try:
        for _ in range(ROUNDS):
            for _ in range(life.draw.choice([1, 5, 20, 60])):
                life.write()
            if life.draw.random() < 0.6:
                life.change()
            count += check(life, python)[0]
    finally:
        python.close()
    assert count > 20 or life.gaps
