"""An answer and what it rests on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from memdb.errors import MemdbError
from memdb.types.zone import UTC_ZONE
from reasoner.evidence import Evidence
from reasoner.questions import Question

if TYPE_CHECKING:
    from memdb.errors import InvalidArgument
    from memdb.types.coverage import StreamCoverage

EXTRACTIVE: Final = "extractive"
"""`Answer.answered_by` when no language model was asked."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer and what it rests on."""

    question: Question
    text: str
    evidence: tuple[Evidence, ...]
    """The arm that the question means first, each arm best first."""
    cited: tuple[int, ...]
    """Indices into ``evidence`` that the text rests on; empty when it found no answer there."""
    answered_by: str
    """``extractive``, or the name of the language model that worded the answer."""
    revision: int
    """The user's commit at which memory was read; asking ``as_of`` it, and ``valid_at`` the time below, finds the
    same evidence."""
    recall_arms: tuple[str, ...]
    """How speech and facts were searched: ``lexical``, and ``semantic`` when the user has a text
    space.
    """
    durations_ms: Mapping[str, float]
    """``encode``, ``ground``, ``recall``, ``llm`` (where asked) and ``total``."""
    abstained: bool = False
    """No clip passed what was demanded of it."""
    coverage: tuple[StreamCoverage, ...] = ()
    """Where it was looked for, when it abstained."""
    zone: str = UTC_ZONE
    """The time zone by whose clock the text tells times."""
    model_error: MemdbError | None = None
    """Why the language model that was asked did not word the answer, which is extractive then."""
    valid_at_ns: int | None = None
    """When the facts hold that were looked at; None for any."""
    facts_unplaced: int = 0
    """Facts whose clips were not all looked at, since there are too many (`reasoner.fact_clips`): one that is asked
    about may be left out, or told without its moment."""

    @property
    def moment(self) -> Evidence | None:
        """The first moment cited."""
        return self.evidence[self.cited[0]] if self.cited else None

    def as_json(self) -> dict[str, Any]:
        """The answer as JSON values."""
        return {
            "question": self.question.text,
            "subject": self.question.subject,
            "cue": self.question.cue,
            "answer": self.text,
            "answered_by": self.answered_by,
            "cited": list(self.cited),
            "evidence": [item.as_json() for item in self.evidence],
            "revision": self.revision,
            "valid_at_ns": self.valid_at_ns,
            "facts_unplaced": self.facts_unplaced,
            "recall_arms": list(self.recall_arms),
            "abstained": self.abstained,
            "zone": self.zone,
            "coverage": [asdict(part) for part in self.coverage],
            "model_error": None if self.model_error is None else str(self.model_error),
            "durations_ms": {name: round(value, 2) for name, value in self.durations_ms.items()},
        }


@dataclass(frozen=True, slots=True)
class Refused:
    """A question that is none, in the place of its answer."""

    text: str
    error: InvalidArgument

    def as_json(self) -> dict[str, Any]:
        """The question and why it was not asked."""
        return {"question": self.text, "error": str(self.error), "reason": self.error.reason}
