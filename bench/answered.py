"""What an answer is worth: whether a hit is the moment, and how well its seconds are those of the moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.day import SECOND_NS, Moment
from memdb.types.grounding import Hit

Stretches = list[tuple[int, int]]


def is_right(hit: Hit, right: Sequence[Moment]) -> bool:
    """Whether the clip shows a moment: half of the moment, or of the clip, is of the other."""
    return _shown(hit, right) is not None


def overlap(hit: Hit, right: Sequence[Moment]) -> float:
    """Seconds that are told and those of the moment: the share that is both; 0 for a wrong clip."""
    moment = _shown(hit, right)
    if moment is None:
        return 0.0
    told = seconds_of(hit)
    both = sum(_common(stretch, (moment.start_ns, moment.end_ns)) for stretch in told)
    all_told = sum(end - start for start, end in told)
    return both / (all_told + moment.end_ns - moment.start_ns - both)


def told_s(hit: Hit) -> float:
    """Seconds that a hit tells."""
    return sum(end - start for start, end in seconds_of(hit)) / SECOND_NS


def seconds_of(hit: Hit) -> Stretches:
    """The stretches that a hit tells: its spans, which do not overlap, else its clip."""
    if hit.spans:
        return [(span.start_ns, span.end_ns) for span in hit.spans]
    return [(hit.clip.start_ns, hit.clip.end_ns)]


@dataclass(slots=True)
class Answered:
    """Collects answers of one way; every list has one entry a question, but for `iou_right` and `told_s`."""

    r1: list[float] = field(default_factory=list)
    r5: list[float] = field(default_factory=list)
    reciprocal: list[float] = field(default_factory=list)
    iou: list[float] = field(default_factory=list)
    iou_right: list[float] = field(default_factory=list)
    told_s: list[float] = field(default_factory=list)

    def add(self, hits: Sequence[Hit], right: Sequence[Moment]) -> None:
        """One question."""
        places = [place for place, hit in enumerate(hits) if is_right(hit, right)]
        self.r1.append(float(0 in places))
        self.r5.append(float(bool(places)))
        self.reciprocal.append(1 / (places[0] + 1) if places else 0.0)
        self.iou.append(overlap(hits[0], right) if hits else 0.0)
        if places:
            self.iou_right.append(overlap(hits[places[0]], right))
        if hits:
            self.told_s.append(told_s(hits[0]))

    def figures(self, name: str) -> dict[str, float]:
        """Per cent, and seconds; nothing of no question."""
        if not self.r1:
            return {}
        figures = {
            f"{name}_r1": _percent(self.r1),
            f"{name}_r5": _percent(self.r5),
            f"{name}_mrr": _percent(self.reciprocal),
            f"{name}_iou": _percent(self.iou),
        }
        if self.iou_right:
            figures[f"{name}_iou_right"] = _percent(self.iou_right)
        if self.told_s:
            figures[f"{name}_told_s"] = sum(self.told_s) / len(self.told_s)
        return figures


def _shown(hit: Hit, right: Sequence[Moment]) -> Moment | None:
    clip = hit.clip
    for moment in right:
        if moment.camera != clip.stream:
            continue
        both = _common((clip.start_ns, clip.end_ns), (moment.start_ns, moment.end_ns))
        shorter = min(clip.end_ns - clip.start_ns, moment.end_ns - moment.start_ns)
        if 2 * both >= shorter:
            return moment
    return None


def _common(first: tuple[int, int], second: tuple[int, int]) -> int:
    return max(0, min(first[1], second[1]) - max(first[0], second[0]))


def _percent(values: Sequence[float]) -> float:
    return 100 * sum(values) / len(values)
