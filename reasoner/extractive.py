"""An answer without a language model: the best evidence as a sentence, quoting and nothing more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memdb.types.zone import UTC_ZONE
from reasoner.abstention import describe_abstention
from reasoner.questions import SAID, SEEN
from reasoner.wall_clock import time_range

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memdb.types.grounding import Grounding
    from reasoner.evidence import Evidence
    from reasoner.questions import Question


def extract(
    question: Question, cited: Sequence[Evidence], grounding: Grounding, zone: str | None = None
) -> str:
    """The sentence; where there is no evidence, that there is none, and where it was looked for."""
    if not cited:
        return _nothing(question, grounding, zone)
    if question.is_of_anything_said:
        told = "; ".join(f"{_place(item, zone)}: {_words(item)}" for item in cited)
        return f"The last that was said: {told}" + _gaps(grounding)
    return _quoted(cited[0], grounding, zone)


def _nothing(question: Question, grounding: Grounding, zone: str | None) -> str:
    if question.is_of_anything_said:
        return "Nothing was said." + _gaps(grounding)
    if grounding.abstained and question.cue != SAID:
        return describe_abstention(grounding, zone)
    known = "Nothing that was said" if question.cue == SAID else "Nothing in memory"
    return f"{known} answers this." + _gaps(grounding)


def _quoted(best: Evidence, grounding: Grounding, zone: str | None) -> str:
    place, quoted = _place(best, zone), _words(best)
    if best.arm == SAID:
        return f"Said {place}: {quoted}"
    if best.arm == SEEN:
        named = f"; labelled {', '.join(best.labels)}" if best.labels else ""
        said = f"; said meanwhile: {quoted}" if quoted else ""
        alike = f" (similarity {best.score:.2f})" if "cosine" in best.arms else ""
        return f"Seen {place}{alike}{named}{said}." + _gaps(grounding)
    return f"Remembered ({place}): {quoted}"


def _place(item: Evidence, zone: str | None) -> str:
    where = f"on camera {item.camera}, " if item.camera else ""
    return f"{where}{time_range(item.start_ns, item.end_ns, zone)} {zone or UTC_ZONE}"


def _words(item: Evidence) -> str:
    return " ".join(f'"{text}"' for text in item.said)


def _gaps(grounding: Grounding) -> str:
    missing = sum(gap.last_seq - gap.first_seq + 1 for gap in grounding.gaps)
    # An answer names the newest gaps; of the others it does not say how many clips they are.
    least = "at least " if grounding.gaps_left_out else ""
    return f" ({least}{missing} clips of this time are missing from memory.)" if missing else ""
