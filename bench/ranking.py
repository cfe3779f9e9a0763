"""How high the right answers stand: recall, reciprocal rank, and the fusion that scores are compared with."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

RRF_K = 60
"""Of Cormack, Clarke and Büttcher, "Reciprocal Rank Fusion outperforms Condorcet" (2009)."""


def reciprocal_rank_fusion(lists: Sequence[Sequence[Hashable]]) -> list[Hashable]:
    """One list of several, by ranks alone."""
    scores: dict[Hashable, float] = {}
    for ranked in lists:
        for place, item in enumerate(ranked, 1):
            scores[item] = scores.get(item, 0.0) + 1.0 / (RRF_K + place)
    return sorted(scores, key=lambda item: -scores[item])  # equal ones as they came


@dataclass(slots=True)
class Ranking:
    """Collects where the right answers of many questions stand."""

    _recalls: dict[int, list[float]] = field(default_factory=lambda: {1: [], 5: []})
    _reciprocals: list[float] = field(default_factory=list)

    def add(self, ranked: Sequence[Hashable], right: Sequence[Hashable]) -> None:
        """One question: what was found, best first, and all that is right."""
        places = [ranked.index(item) + 1 for item in right if item in ranked]
        for depth, recalls in self._recalls.items():
            recalls.append(sum(place <= depth for place in places) / len(right))
        self._reciprocals.append(1.0 / min(places) if places else 0.0)

    def add_moments(self, are_right: Sequence[bool]) -> None:
        """One question of which any right answer will do: whether each that was found is right."""
        place = are_right.index(True) + 1 if True in are_right else None
        for depth, recalls in self._recalls.items():
            recalls.append(float(place is not None and place <= depth))
        self._reciprocals.append(1.0 / place if place else 0.0)

    def figures(self, name: str) -> dict[str, float]:
        """Per cent of what is right among the first and the first five; mean reciprocal rank × 100."""
        figures = {
            f"{name}_r{depth}": 100 * sum(recalls) / len(recalls)
            for depth, recalls in self._recalls.items()
        }
        figures[f"{name}_mrr"] = 100 * sum(self._reciprocals) / len(self._reciprocals)
        return figures
