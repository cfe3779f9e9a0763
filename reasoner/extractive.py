"""An answer without a language model: the best evidence as a sentence, quoting and nothing more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memdb.types.zone import UTC_ZONE
from reasoner.abstention import describe_abstention
from reasoner.questions import SAID, SEEN
from reasoner.wall_clock import time_range

if TYPE_CHECKING:
    from memdb.types.grounding import Grounding
    from reasoner.evidence import Evidence
    from reasoner.questions import Question


def extract(
    question: Question, best: Evidence | None, grounding: Grounding, zone: str | None = None
) -> str:
    """The sentence; where there is no evidence, that there is none, and where it was looked for."""
    if best is None and grounding.abstained and question.cue != SAID:
        return describe_abstention(grounding, zone)
    if best is None:
        known = "Nothing that was said" if question.cue == SAID else "Nothing in memory"
        return f"{known} answers this." + _gaps(grounding)
    where = f"on camera {best.camera}, " if best.camera else ""
    when = f"{time_range(best.start_ns, best.end_ns, zone)} {zone or UTC_ZONE}"
    quoted = " ".join(f'"{text}"' for text in best.said)
    if best.arm == SAID:
        return f"Said {where}{when}: {quoted}"
    if best.arm == SEEN:
        named = f"; labelled {', '.join(best.labels)}" if best.labels else ""
        said = f"; said meanwhile: {quoted}" if quoted else ""
        alike = f" (similarity {best.score:.2f})" if "cosine" in best.arms else ""
        return f"Seen {where}{when}{alike}{named}{said}." + _gaps(grounding)
    return f"Remembered ({where}{when}): {quoted}"


def _gaps(grounding: Grounding) -> str:
    missing = sum(gap.last_seq - gap.first_seq + 1 for gap in grounding.gaps)
    return f" ({missing} clips of this time are missing from memory.)" if missing else ""
