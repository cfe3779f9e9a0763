"""The arms that a question with words searches, and what each had to say about a hit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

VECTOR: Final = "vector"
TRANSCRIPT: Final = "transcript"
TRANSCRIPT_FEATURES: Final = "transcript_features"
EVENTS: Final = "events"
LABELS: Final = "labels"

ARM_WEIGHTS: Final[Mapping[str, float]] = MappingProxyType(
    {VECTOR: 0.2, TRANSCRIPT: 0.8, TRANSCRIPT_FEATURES: 0.3, EVENTS: 0.4, LABELS: 0.4}
)
"""Every arm, and what it counts beside the others where the question does not say.

``vector``
    the question's feature against the clips' global memory.
``transcript``
    the question's words in what was said, and in who said it; the best utterance counts.
``transcript_features``
    the question's text feature against those of the utterances; the best one counts.
``events``
    the question's words in the names of the sounds.
``labels``
    the question's words in the labels, keys and values.

The weights are measured: `python -m bench hybrid`.
"""


@dataclass(frozen=True, slots=True)
class ArmMatch:
    """A part of a hit's clip that an arm found, in event time."""

    start_ns: int
    end_ns: int
    index: int
    """Its place in ``clip.transcript`` or ``clip.events``, or of the label in the order of the keys."""
    terms: tuple[str, ...] = ()
    """The words of the question that it has; empty where it was found by its feature."""


@dataclass(frozen=True, slots=True)
class Arm:
    """What one arm gave to a hit: ``weight * score``; all arms together, the hit's score."""

    name: str
    """A key of `ARM_WEIGHTS`."""
    score: float
    """In [0, 1] by the scale of the fusion; of a question without words, what the arm measured."""
    weight: float
    """The arm's share; those of all arms that the question asked add up to 1."""
    rank: int
    """Place of the hit by this arm alone, from 1."""
    raw: float
    """What the arm measured: a similarity, or a BM25 score."""
    matches: tuple[ArmMatch, ...] = ()
    """What it found in the clip, the best first; empty for ``vector``."""
