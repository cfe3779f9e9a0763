"""What a look at every clip and fact of a `Life` (`tests.property.word_life`) finds for a question, arm by arm."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from memdb import Not
from memdb.index.terms import STOP_TERMS, asked_terms, terms
from memdb.types.arrays import Array
from tests.property.word_life import SPACES, Life, Version

FLOOR = 6
"""In the place of a hundred, so that some are behind it."""


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
