"""Answers at once over a life: whatever was written, grown, thinned, removed, erased, found damaged or closed, they are
those of any other way to ask, to the last byte.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memdb import Clip, Keyframe, MemdbError, Retention, Utterance
from memdb.clock import ManualClock
from memdb.config import EngineConfig
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.reading import WouldWait
from memdb.engine.user import EmbeddedUser
from memdb.types.arrays import Array
from memdb.types.clip import StoredClip
from memdb.wire.clips import stored_clip_to_proto
from memdb.wire.grounding import grounding_to_proto
from memdb.wire.packed_groundings import pack_grounding

DIM = 6
SECOND_NS = 1_000_000_000
T0_NS = 1_700_000_000 * SECOND_NS + 123_456_789  # no whole second: those survive as floats
STREAMS = ("door", "yard")
USERS = ("alice", "bob")
PARTS: dict[str, Any] = {"raw_short_memory": True}
"""As the server asks."""
POLICIES = (
    None,
    Retention(keyframes_age_s=1),
    Retention(short_memory_age_s=1),
    Retention(max_clips=3),
    Retention(max_bytes=10),
    Retention(keyframes_age_s=2, short_memory_age_s=9),
)


@dataclass
class Life:
    """Two users of a database in which few may be open."""

    folder: Path
    random: random.Random
    numbers: np.random.Generator
    config: EngineConfig
    clock: ManualClock = field(default_factory=lambda: ManualClock(T0_NS))
    next_seq: dict[tuple[str, str], int] = field(default_factory=dict)
    at_once: int = 0

    def __post_init__(self) -> None:
        self.open()
        self.db.create_space("cam", dim=DIM)

    def open(self) -> None:
        self.db = EmbeddedDatabase(self.folder / "data", config=self.config, clock=self.clock)

    def vector(self) -> Array:
        return self.numbers.standard_normal(DIM).astype(np.float32)

    def write(self, user: EmbeddedUser, stream: str) -> None:
        """A clip: a new one, one after a gap, or a later version of the last."""
        key = (user.id, stream)
        chance = self.random.random
        seq = self.next_seq.get(key, 0) + (self.random.randint(1, 3) if chance() < 0.2 else 0)
        sealed = chance() < 0.6
        start_ns = T0_NS + seq * SECOND_NS
        clip = Clip(
            seq=seq,
            start_ns=start_ns,
            end_ns=start_ns + SECOND_NS // (1 if sealed else self.random.randint(2, 4)),
            global_memory=self.vector(),
            short_memory=np.ones((2, DIM), np.float16) if chance() < 0.5 else None,
            keyframes=(Keyframe(start_ns, self.numbers.bytes(20)),) if chance() < 0.6 else (),
            transcript=(Utterance(start_ns, start_ns + 1, "hi"),) if chance() < 0.4 else (),
            labels={"zone": str(seq % 3)} if chance() < 0.5 else {},
            sealed=sealed,
        )
        user.stream(stream, space="cam").write(clip)
        self.next_seq[key] = seq + sealed

    def erase_some(self, user: EmbeddedUser, stream: str) -> None:
        ids = [clip.id for clip in user.clips(limit=100) if clip.stream == stream]
        user.erase_clips(self.random.sample(ids, min(len(ids), 2)))

    def erase_user(self, user: EmbeddedUser, _: str) -> None:
        user.erase()
        for stream in STREAMS:
            self.next_seq.pop((user.id, stream), None)

    def damage(self, user: EmbeddedUser, _: str) -> None:
        """A picture of some version is found damaged."""
        with self.db._users.use(user.id) as memory:
            for partition in memory.view.partitions.values():
                row = self.random.randrange(max(partition.rows, 1))
                if row < partition.rows:
                    no, birth = (int(partition.columns[name][row]) for name in ("clip_no", "birth"))
                    memory.damage_found([f"keyframes/{no:016x}{birth:016x}{0:08x}"])

    def reopen(self, _: EmbeddedUser, __: str) -> None:
        self.db.close()
        self.open()

    def step(self) -> None:
        steps: list[tuple[int, Callable[[EmbeddedUser, str], object]]] = [
            (36, self.write),
            (7, self.erase_some),
            (4, lambda user, stream: user.stream(stream).erase(end_ns=T0_NS + 4 * SECOND_NS)),
            (
                12,
                lambda user, stream: user.stream(stream).set_retention(
                    self.random.choice(POLICIES)
                ),
            ),
            (12, lambda *_: self.db.sweep()),
            (1, self.erase_user),
            (2, lambda user, _: user.compact()),
            (1, self.damage),
            (2, self.reopen),
            (3, lambda user, _: user.remember("it rains")),
            (4, lambda *_: self.clock.advance(self.random.randint(1, 20) * SECOND_NS)),
        ]
        weights, works = zip(*steps, strict=True)
        (work,) = self.random.choices(works, weights)
        user = self.db.user(self.random.choice(USERS))
        with suppress(MemdbError):  # what is not there, or not whole
            work(user, self.random.choice(STREAMS))

    def ask(self) -> None:
        pick = self.random.choice
        user = self.db.user(pick(USERS))
        question = self.vector()
        options: dict[str, Any] = {
            "limit": pick([1, 3, 32, 32]),
            "streams": pick([None, None, ["door"], ["yard", "door"], ["none"]]),
            "start_ns": pick([None, None, T0_NS + self.random.randint(0, 9) * SECOND_NS]),
            "min_score": pick([None, None, 0.1, 0.9]),
            "fallback": pick(["none", "recent"]),
            "labels": pick([None, None, {"zone": "1"}]),
            "with_coverage": pick([False, False, True]),
            "with_keyframes": pick([True, True, False]),
            "policy": pick(["top", "top", "ixc-live"]),
            "space": pick([None, None, "cam", "none"]),
        }
        before = self.told(user, question, options) if pick([False, True]) else None
        try:
            at_once = self.told(user, question, options | {"at_once": True})
        except WouldWait:
            self.told(user, question, options)  # its clips are kept from now on
            return
        self.at_once += 1
        assert at_once == self.told(user, question, options)
        assert before in (None, at_once)
        if options["with_keyframes"]:
            with suppress(MemdbError):
                for hit in user.ground(question, **options, at_once=True, **PARTS).hits:
                    # Which comes from the store.
                    assert stored(hit.clip) == stored(user.clip(hit.clip.id))

    def told(self, user: EmbeddedUser, question: Array, options: dict[str, Any]) -> bytes:
        """The answer as it is sent, or what refuses it."""
        try:
            answer = user.ground(question, **options, **PARTS)
        except MemdbError as error:
            return f"{type(error).__name__} {error}".encode()
        told = grounding_to_proto(answer).SerializeToString(deterministic=True)
        # From the bytes that clips have left, or with those that they leave now.
        assert pack_grounding(answer, self.db.kept_clips) == told
        return told


def stored(clip: StoredClip) -> bytes:
    """What an answer holds of a clip."""
    return stored_clip_to_proto(replace(clip, short_memory=None)).SerializeToString()


@pytest.mark.parametrize("seed", range(4))
def test_answers_at_once_are_the_answers(tmp_path: Path, seed: int) -> None:
    config = EngineConfig(open_users_max=1 + seed % 2)
    life = Life(tmp_path, random.Random(seed), np.random.default_rng(seed), config)
    try:
        for _ in range(200):
            life.step()
            life.ask()
            life.ask()
    finally:
        life.db.close()
    assert life.at_once > 60
