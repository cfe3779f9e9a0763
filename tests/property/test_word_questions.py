"""Questions with words, over a life of clips that are revised and erased and facts that are revised and forgotten: what
a look at every one of them finds, arm by arm, as of any moment, under any filter, in pages, and after a restart.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memdb import Clip, FailedPrecondition, Hit, Not, SoundEvent, Utterance
from memdb.clock import ManualClock
from memdb.config import EngineConfig
from memdb.engine import hybrid
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.user import EmbeddedUser
from memdb.index import fusion, head_scores, matrix, partition, text_cosines
from memdb.index import text as index_text
from memdb.index.terms import STOP_TERMS, asked_terms, terms
from memdb.types.arm import ARM_WEIGHTS
from memdb.types.arrays import Array
from tests.property.conftest import memory_folder

pytestmark = pytest.mark.property

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
FLOOR = 6
"""In the place of a hundred, so that some are behind it."""
BEGIN_NS = 1_700_000_000 * SECOND_NS
STEP_NS = 100 * SECOND_NS
CONFIG = EngineConfig(durability="relaxed", disk_free_bytes_min=1 << 20, open_history_s=1500)


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


# --- the same, one by one


def alive(things: Sequence[Any], revision: int) -> list[Any]:
    return [one for one in things if one.birth <= revision < one.death]


def cosine(a: Array, b: Array) -> float:
    a, b = a.astype(np.float64), b.astype(np.float64)
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def worth(question: str, documents: Sequence[str]) -> tuple[Callable[[str], float], float]:
    """What a text scores among all that there are, and what none can reach."""
    split = [terms(one) for one in documents]
    sizes = [sum(term not in STOP_TERMS for term in one) for one in split]
    mean = (sum(sizes) / len(sizes) if sizes else 0.0) or 1.0
    idfs = {
        term: math.log(1 + (len(split) - having + 0.5) / (having + 0.5))
        for term in asked_terms(question)
        for having in [sum(term in one for one in split)]
    }

    def score(text: str) -> float:
        own = terms(text)
        size = sum(term not in STOP_TERMS for term in own)
        return sum(
            idf * times * 1.9 / (times + 0.9 * (0.6 + 0.4 * size / mean))
            for term, idf in idfs.items()
            if (times := own.count(term))
        )

    return score, 1.9 * sum(idfs.values())


def scaled_words(raw: dict[Any, float], ceiling: float) -> dict[Any, float]:
    found = {key: score for key, score in raw.items() if score > 0.0}
    best = max(max(found.values(), default=0.0), 0.2 * ceiling)
    return {key: score / best for key, score in found.items()}


def scaled_vectors(raw: dict[Any, float], sure: float = 5e-3) -> dict[Any, float] | None:
    """None where the last bits would decide: all are within ``sure``."""
    if not raw:
        return {}
    most, least = max(raw.values()), sorted(raw.values(), reverse=True)[:FLOOR][-1]
    if most - least < 1e-12:
        return {key: float(score == most) for key, score in raw.items()}
    if most - least < sure:
        return None
    return {key: max(score - least, 0.0) / (most - least) for key, score in raw.items()}


@dataclass
class Asked:
    """A question to `ground`."""

    space: str
    text: str
    feature: Array | None
    text_feature: Array | None
    weights: dict[str, float]
    streams: list[str] | None
    start_ns: int | None
    end_ns: int | None
    zones: list[str] | Not | None

    def admits(self, one: Version) -> bool:
        clip = one.clip
        zone = clip.labels.get("zone")
        if isinstance(self.zones, Not):
            labelled = zone not in self.zones.values
        else:
            labelled = self.zones is None or zone in self.zones
        return (
            labelled
            and (self.streams is None or one.stream in self.streams)
            and (self.start_ns is None or clip.end_ns > self.start_ns)
            and (self.end_ns is None or clip.start_ns < self.end_ns)
        )

    @property
    def options(self) -> dict[str, Any]:
        return {
            "space": self.space,
            "text": self.text,
            "text_feature": self.text_feature,
            "weights": self.weights,
            "streams": self.streams,
            "start_ns": self.start_ns,
            "end_ns": self.end_ns,
            "labels": None if self.zones is None else {"zone": self.zones},
        }


@dataclass
class Arms:
    """What each arm gives to each clip, in [0, 1], and what it measured."""

    weights: dict[str, float]
    """Shares of those that were asked."""
    scaled: dict[str, dict[str, float]]
    raw: dict[str, dict[str, float]]

    def scores(self) -> dict[str, float]:
        """Of every clip that is found."""
        summed: dict[str, float] = {}
        for name, given in self.scaled.items():
            for clip_id, score in given.items():
                if self.weights[name]:
                    summed[clip_id] = summed.get(clip_id, 0.0) + self.weights[name] * score
        return summed


def looked_at(life: Life, asked: Asked, revision: int) -> Arms | None:
    """None where the last bits of a similarity decide."""
    there = alive(life.versions, revision)
    mine = [one for one in there if SPACES[one.stream] == asked.space]
    admitted = [one for one in mine if asked.admits(one)]
    told = asked.text_feature if revision >= life.told_since else None
    feature = told if asked.feature is None and asked.space == "text" else asked.feature
    arms = Arms({}, {}, {})
    if feature is not None:
        raw = {one.clip_id: cosine(one.clip.global_memory, feature) for one in admitted}
        vectors = scaled_vectors(raw)
        if vectors is None:
            return None
        arms.scaled["vector"], arms.raw["vector"] = vectors, raw
    of_arm: dict[str, tuple[list[Version], Callable[[Version], list[str]]]] = {
        "transcript": (there, lambda one: one.texts),
        "events": (mine, lambda one: [" ".join(event.label for event in one.clip.events)]),
        "labels": (mine, lambda one: [" ".join(f"{k} {v}" for k, v in one.clip.labels.items())]),
    }
    for name, (counted, texts_of) in of_arm.items():
        score, ceiling = worth(asked.text, [text for one in counted for text in texts_of(one)])
        raw = {one.clip_id: max(map(score, texts_of(one)), default=0.0) for one in admitted}
        arms.scaled[name] = scaled_words(raw, ceiling)
        arms.raw[name] = {key: raw[key] for key in arms.scaled[name]}
    if told is not None:
        arms.scaled["transcript_features"] = arms.raw["transcript_features"] = {
            one.clip_id: likeness
            for one in admitted
            if (rows := one.clip.transcript_features) is not None
            and (likeness := max(cosine(row, told) for row in rows)) > 0.0
        }
    total = sum(asked.weights[name] for name in arms.scaled) or 1.0
    arms.weights |= {name: asked.weights[name] / total for name in arms.scaled}
    return arms


def recall_by_all(
    life: Life, question: str, feature: Array | None, revision: int
) -> dict[tuple[str, int], float]:
    texts: dict[tuple[str, int], tuple[str, Array | None]] = {}
    for one in alive(life.versions, revision):
        rows = one.clip.transcript_features
        for index, text in enumerate(one.texts):
            texts[one.clip_id, index] = text, None if rows is None else rows[index]
    for fact in alive(life.statements, revision):
        texts[fact.fact_id, 0] = fact.text, fact.feature
    score, ceiling = worth(question, [text for text, _ in texts.values()])
    words = scaled_words({key: score(text) for key, (text, _) in texts.items()}, ceiling)
    if feature is None or revision < life.told_since:
        return words
    scores = {
        key: 0.7 * words.get(key, 0.0)
        + (0.0 if own is None else 0.3 * max(cosine(own, feature), 0.0))
        for key, (_, own) in texts.items()
    }
    return {key: score_ for key, score_ in scores.items() if score_ > 1e-7}


# --- both


def drawn(life: Life, there: list[str]) -> Asked:
    rng = life.rng
    space = str(rng.choice(["cam", "text"]))
    weights = {
        name: float(rng.choice([0.0, weight, 1.0])) if rng.random() < 0.4 else weight
        for name, weight in ARM_WEIGHTS.items()
    }
    weights["labels"] = weights["labels"] or 0.1
    streams = [name for name in there if SPACES[name] == space and rng.random() < 0.6]
    begin = BEGIN_NS + int(rng.integers(0, 200)) * SECOND_NS
    zones: list[str] | Not | None = None
    if rng.random() < 0.4:
        some = [life.words(2), life.words(1), life.words(1)]
        zones = some if rng.random() < 0.5 else Not(*some)
    return Asked(
        space,
        " ".join(life.rng.choice([*VOCABULARY, "unheard"], int(rng.integers(1, 4)))),
        life.vector(DIMS[space]) if rng.random() < 0.5 else None,
        life.vector(3) if rng.random() < 0.7 else None,
        weights,
        streams if streams and rng.random() < 0.5 else None,
        begin if rng.random() < 0.3 else None,
        begin + int(rng.integers(1, 100)) * SECOND_NS if rng.random() < 0.3 else None,
        zones,
    )


def shown(hits: Sequence[Hit]) -> list[tuple[str, float]]:
    return [(hit.clip.id, hit.score) for hit in hits]


def check_ground(life: Life, asked: Asked, as_of: int | str) -> None:
    revision = life.snapshots[as_of] if isinstance(as_of, str) else as_of
    arms = looked_at(life, asked, revision)
    options = {**asked.options, "as_of": as_of}
    every = life.user.ground(asked.feature, limit=1000, **options).hits
    assert arms is None or dict(shown(every)) == pytest.approx(arms.scores(), abs=1e-4)
    assert len(every) == len(dict(shown(every)))
    scores = [hit.score for hit in every]
    assert scores == sorted(scores, reverse=True)
    for limit in (1, 4):
        assert shown(life.user.ground(asked.feature, limit=limit, **options).hits) == shown(
            every[:limit]
        )
    pages: list[Hit] = []
    cursor: str | None = ""
    while cursor is not None:
        page = life.user.ground(asked.feature, limit=3, cursor=cursor, **options)
        pages += page.hits
        cursor = page.next_cursor
    assert shown(pages) == shown(every)
    if arms is not None:
        explained = life.user.ground(asked.feature, limit=3, explain=True, **options).hits
        assert shown(explained) == shown(every[:3])
        for hit in explained:
            check_explained(hit, asked, arms)
        check_reranked(life, asked, as_of, arms, shown(every))
    bar = float(life.rng.choice([0.2, 0.5, 2.0]))
    passed = life.user.ground(asked.feature, limit=4, min_score=bar, fallback="recent", **options)
    if passed.fallback == "recent":
        assert not any(score >= bar for score in scores)
        (newest,) = passed.hits
        assert newest.score == dict(shown(every)).get(newest.clip.id, 0.0)
        assert newest.clip.end_ns == max(
            one.clip.end_ns
            for one in alive(life.versions, revision)
            if SPACES[one.stream] == asked.space and asked.admits(one)
        )
    else:
        assert shown(passed.hits) == [one for one in shown(every)[:4] if one[1] >= bar]


def check_explained(hit: Hit, asked: Asked, arms: Arms) -> None:
    own = {arm.name: arm for arm in hit.arms}
    key = hit.clip.id
    assert own.keys() == {name for name, w in arms.weights.items() if w and key in arms.raw[name]}
    for name, arm in own.items():
        assert arm.weight == pytest.approx(arms.weights[name])
        assert arm.score == pytest.approx(arms.scaled[name][key], abs=1e-4)
        assert arm.raw == pytest.approx(arms.raw[name][key], abs=1e-5)
        others = np.array(list(arms.raw[name].values()))
        better = np.count_nonzero(others > arm.raw + 1e-5)
        assert better < arm.rank <= 1 + np.count_nonzero(others >= arm.raw - 1e-5) + better
    assert sum(arm.weight * arm.score for arm in hit.arms) == pytest.approx(hit.score, abs=1e-9)
    wanted = asked_terms(asked.text)
    said = [f"{one.speaker} {one.text}" for one in hit.clip.transcript]
    if "transcript" in own:
        matches = own["transcript"].matches
        common = {
            index: tuple(word for term, word in wanted.items() if term in terms(text))
            for index, text in enumerate(said)
        }
        assert {match.index: match.terms for match in matches} == {
            index: found for index, found in common.items() if found
        }
    if "transcript_features" in own:
        (match,) = own["transcript_features"].matches
        assert 0 <= match.index < len(said)


def check_reranked(
    life: Life, asked: Asked, as_of: int | str, arms: Arms, plain: list[tuple[str, float]]
) -> None:
    """Late interaction in the place of similarity, of the first few."""
    revision = life.snapshots[as_of] if isinstance(as_of, str) else as_of
    tokens = np.stack([life.vector(DIMS[asked.space]) for _ in range(2)])
    count = int(life.rng.integers(1, 9))
    found = life.user.ground(
        asked.feature,
        limit=1000,
        question_tokens=tokens,
        rerank=count,
        weighting="uniform",
        as_of=as_of,
        explain=True,
        **asked.options,
    ).hits
    assert shown(found[count:]) == plain[count:]
    first = {key for key, _ in plain[:count]}
    assert {hit.clip.id for hit in found[:count]} == first
    late = {
        one.clip_id: sum(max(cosine(row, token) for row in memory) for token in tokens) / 2
        for one in alive(life.versions, revision)
        if one.clip_id in first and (memory := one.clip.short_memory) is not None
    }
    scaled = scaled_vectors(late, 0.1)  # short-term memory is kept in 16 bits
    for hit in found:
        assert sum(arm.weight * arm.score for arm in hit.arms) == pytest.approx(hit.score, abs=1e-9)
    if scaled is None:
        return
    pictures, share = arms.weights.get("vector", 0.0), 1.0
    if not pictures:
        # One arm more is asked.
        total = sum(asked.weights[name] for name in arms.weights) or 1.0
        share = total / (total + asked.weights["vector"])
        pictures = asked.weights["vector"] / (total + asked.weights["vector"])
    for hit in found[:count]:
        key = hit.clip.id
        likeness = scaled if key in late else arms.scaled.get("vector", {})
        expected = pictures * likeness.get(key, 0.0) + share * sum(
            weight * arms.scaled[name].get(key, 0.0)
            for name, weight in arms.weights.items()
            if name != "vector"
        )
        assert hit.score == pytest.approx(expected, abs=5e-3)
    reranked = [hit.score for hit in found[:count]]
    assert reranked == sorted(reranked, reverse=True)


def check_recall(life: Life, as_of: int | str) -> None:
    revision = life.snapshots[as_of] if isinstance(as_of, str) else as_of
    question = " ".join(life.rng.choice([*VOCABULARY, "unheard"], int(life.rng.integers(1, 4))))
    feature = life.vector(3) if life.rng.random() < 0.7 else None
    wanted = recall_by_all(life, question, feature, revision)

    def asked(limit: int) -> list[tuple[tuple[str, int], float]]:
        found = life.user.recall(
            question, limit=limit, feature=feature, as_of=as_of, valid_at="any"
        )
        return [
            (
                (hit.fact.id, 0)
                if hit.fact is not None
                else (hit.clip.id, hit.clip.transcript.index(hit.utterance)),  # type: ignore[union-attr]
                hit.score,
            )
            for hit in found.hits
        ]

    every = asked(1000)
    assert dict(every) == pytest.approx(wanted, abs=1e-5)
    for limit in (1, 6):
        assert asked(limit) == every[:limit]


def opened(folder: Path, clock: ManualClock) -> EmbeddedDatabase:
    return EmbeddedDatabase(folder, clock=clock, config=CONFIG, embed_texts=False)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("heads", [False, True])
def test_words_find_what_a_look_at_everything_finds(
    monkeypatch: pytest.MonkeyPatch, seed: int, heads: bool
) -> None:
    for module in (hybrid, fusion):
        monkeypatch.setattr(module, "FLOOR_PLACE", FLOOR)
    # What is gone is cleared away now and then.
    monkeypatch.setattr(index_text, "GONE_MAX", 5)
    monkeypatch.setattr(partition, "REMOVED_ROWS_MAX", 5)
    if heads:
        # By heads first, as of many texts.
        monkeypatch.setattr(matrix, "WHOLE_ROWS_MAX", 3)
        for few in (head_scores, text_cosines):
            monkeypatch.setattr(few, "FEW", 2)
    folder, clock = memory_folder(), ManualClock(BEGIN_NS)
    rng = np.random.default_rng([seed, heads])
    try:
        with opened(folder / "data", clock) as db:
            for name, dim in DIMS.items():
                db.create_space(name, dim=dim)
            life = Life(db, clock, rng)
            for turn in range(80):
                life.step()
                if turn == seed % 20:
                    life.configure()
            check(life)
        with opened(folder / "data", clock) as db:
            life.db = db
            check(life)
            for _ in range(20):
                life.step()
            check(life)
    finally:
        shutil.rmtree(folder)


def check(life: Life) -> None:
    newest = life.user.revision()
    there = {info.name: info.revision for info in life.user.streams()}
    for turn in range(12):
        as_of: int | str = newest if turn % 3 == 0 else int(life.rng.integers(2, newest + 1))
        if turn % 4 == 2 and life.snapshots:
            as_of = str(life.rng.choice(list(life.snapshots)))
        revision = life.snapshots[as_of] if isinstance(as_of, str) else as_of
        streams = [name for name, since in there.items() if since <= revision]
        asked = drawn(life, streams)
        try:
            check_recall(life, as_of)
        except FailedPrecondition as error:
            assert_collected(error, as_of)
            continue
        if any(SPACES[name] == asked.space for name in streams):
            check_ground(life, asked, as_of)


def assert_collected(error: FailedPrecondition, as_of: int | str) -> None:
    assert error.reason == "HISTORY_COLLECTED"
    assert not isinstance(as_of, str)
