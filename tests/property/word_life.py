"""A life of clips that are revised and erased and facts that are revised and forgotten, and what is left of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from memdb import Clip, SoundEvent, Utterance
from memdb.clock import ManualClock
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.user import EmbeddedUser
from memdb.types.arrays import Array

VOCABULARY = (
    "red",
    "cars",
    "dog",
    "barking",
    "the",
    "parcel",
    "porch",
    "is",
    "blue",
    "mugs",
    "Bob",
)
SOUNDS = ("Dog bark", "Car passing", "Speech")
SPACES = {"door": "cam", "yard": "cam", "gate": "cam", "mic": "text"}
DIMS = {"cam": 5, "text": 3}
SECOND_NS = 10**9
BEGIN_NS = 1_700_000_000 * SECOND_NS
STEP_NS = 100 * SECOND_NS


@dataclass
class Version:
    """One version of a clip."""

    clip_id: str
    stream: str
    clip: Clip
    birth: int
    death: float = math.inf

    @property
    def texts(self) -> list[str]:
        said = self.clip.transcript
        return [one.text if one.speaker is None else f"{one.speaker} {one.text}" for one in said]


@dataclass
class Statement:
    """One version of a fact."""

    fact_id: str
    text: str
    feature: Array | None
    birth: int
    death: float = math.inf


@dataclass
class Life:
    """What a user wrote and what is left of it."""

    db: EmbeddedDatabase
    clock: ManualClock
    rng: np.random.Generator
    told_since: float = math.inf
    """The revision that made the text space."""
    snapshots: dict[str, int] = field(default_factory=dict)
    versions: list[Version] = field(default_factory=list)
    statements: list[Statement] = field(default_factory=list)
    seqs: dict[str, int] = field(default_factory=dict)
    kinds: dict[int, Array] = field(default_factory=dict)

    @property
    def user(self) -> EmbeddedUser:
        return self.db.user("alice")

    def step(self) -> None:
        chance = self.rng.random()
        self.clock.advance(STEP_NS)
        if chance < 0.68:
            self._write(str(self.rng.choice(list(SPACES))))
        elif chance < 0.78:
            self._remember()
        elif chance < 0.84 and self.statements:
            self._revise()
        elif chance < 0.87 and self.statements:
            gone = self.statements[int(self.rng.integers(len(self.statements)))].fact_id
            self.user.forget(gone)
            self.statements = [one for one in self.statements if one.fact_id != gone]
        elif chance < 0.90 and self.versions:
            count = int(self.rng.integers(1, 4))
            ids = {str(one) for one in self.rng.choice([v.clip_id for v in self.versions], count)}
            self.user.erase_clips(sorted(ids))
            self.versions = [one for one in self.versions if one.clip_id not in ids]
        elif chance < 0.91 and "gate" in self.seqs:
            self.user.erase_stream("gate")
            self.versions = [one for one in self.versions if one.stream != "gate"]
            self.seqs.pop("gate")
        elif chance < 0.94 and self.versions:
            name = f"s{len(self.snapshots)}"
            self.user.snapshot(name, ttl_s=10**6)
            self.snapshots[name] = self.user.revision()
        else:
            self.db.sweep()

    def configure(self) -> None:
        self.user.configure(text_space="text")
        self.told_since = self.user.revision()

    def _features(self, count: int) -> Array | None:
        if not count or math.isinf(self.told_since) or self.rng.random() < 0.2:
            return None
        return np.stack([self.vector(3) for _ in range(count)])

    def _write(self, stream: str) -> None:
        rng, seq = self.rng, self.seqs.get(stream, 0)
        space = SPACES[stream]
        begin = BEGIN_NS + seq * 10 * SECOND_NS
        said = tuple(
            Utterance(begin + n, begin + n + 1, self.words(4), str(rng.choice(["Bob", "Ann"])))
            for n in range(int(rng.integers(4)))
        )
        features = self._features(len(said))
        written = Clip(
            seq=seq,
            start_ns=begin,
            end_ns=begin + int(rng.integers(1, 12)) * SECOND_NS,
            global_memory=self.vector(DIMS[space]),
            transcript=said,
            transcript_features=features,
            events=tuple(
                SoundEvent(begin, begin + 5, str(name), 0.5)
                for name in rng.choice(SOUNDS, rng.integers(3))
            ),
            labels={"zone": self.words(2)} if rng.random() < 0.5 else {},
            short_memory=np.stack([self.vector(DIMS[space]) for _ in range(3)])
            if rng.random() < 0.7
            else None,
            sealed=bool(rng.random() < 0.6),
        )
        ack = self.user.stream(stream, space=space).write(written)
        if ack.duplicate:  # of one that was erased while it was open
            self.seqs[stream] = seq + 1
            return
        for other in self.versions:
            if other.clip_id == ack.clip_id and other.death == math.inf:
                other.death = ack.revision
        self.versions.append(Version(ack.clip_id, stream, written, ack.revision))
        self.seqs[stream] = seq + written.sealed

    def _remember(self) -> None:
        text, features = self.words(4), self._features(1)
        feature = None if features is None else features[0]
        key = str(self.rng.choice(["one", "two"])) if self.rng.random() < 0.4 else None
        fact = self.user.remember(text, valid_from=0, feature=feature, key=key)
        self._stated(Statement(fact.id, text, feature, fact.revision))

    def _revise(self) -> None:
        old = self.statements[int(self.rng.integers(len(self.statements)))]
        text, features = self.words(4), self._features(1)
        feature = None if features is None else features[0]
        fact = self.user.revise(old.fact_id, text=text, feature=feature)
        if feature is None and fact.text == self.current(old.fact_id).text:
            feature = self.current(old.fact_id).feature
        self._stated(Statement(fact.id, text, feature, fact.revision))

    def current(self, fact_id: str) -> Statement:
        return [one for one in self.statements if one.fact_id == fact_id][-1]

    def _stated(self, new: Statement) -> None:
        for other in self.statements:
            if other.fact_id == new.fact_id and other.death == math.inf:
                other.death = new.birth
        self.statements.append(new)

    def words(self, most: int) -> str:
        return " ".join(self.rng.choice(VOCABULARY, int(self.rng.integers(1, most + 1))))

    def vector(self, dim: int) -> Array:
        """One of a few, or near to it, or any."""
        if dim not in self.kinds:
            self.kinds[dim] = self.rng.standard_normal((4, dim)).astype(np.float32)
        made: Array = self.kinds[dim][int(self.rng.integers(4))].copy()
        chance = self.rng.random()
        if chance < 0.4:
            made += (1e-3 * self.rng.standard_normal(dim)).astype(np.float32)
        elif chance < 0.7:
            made = self.rng.standard_normal(dim).astype(np.float32)
        return made
