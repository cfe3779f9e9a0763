"""From a question to an answer that cites its moments.

`Reasoner.ask` embeds the question, grounds it, recalls it at the same revision, fuses the evidence
(`reasoner.evidence`) and answers: with a language model in its words, without one *extractively* —
the best evidence quoted with its camera and time — and the answer says which.  Either way it cites
evidence by index, and evidence is always real: a moment that memory returned, never one that a
model made up.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, TypedDict

from memdb.errors import MemdbError, ResourceExhausted
from memdb.types.arm import TRANSCRIPT, TRANSCRIPT_FEATURES
from memdb.types.calendar import clock_texts
from memdb.types.label_filter import Not
from memdb.types.limits import LIMIT_MAX
from memdb.types.validity import NOW
from memdb.types.zone import UTC_ZONE
from perception.sound_label import MEDIUM_LABEL, MEDIUM_SOUND
from reasoner.abstention import describe_abstention
from reasoner.evidence import (
    EVERYWHERE,
    Evidence,
    Scope,
    answers,
    fuse,
    said_evidence,
    seen_evidence,
)
from reasoner.prompts import citations, messages
from reasoner.questions import SAID, SEEN, Question, QuestionEncoder, parse_question
from reasoner.wall_clock import time_range

if TYPE_CHECKING:
    from memdb.errors import InvalidArgument
    from memdb.types.arrays import Array
    from memdb.types.calendar import Calendar
    from memdb.types.coverage import StreamCoverage
    from memdb.types.database import User
    from memdb.types.fact import Recall
    from memdb.types.grounding import AsOf, Grounding, Hit
    from memdb.types.space import Space
    from memdb.types.validity import ValidAt

EXTRACTIVE: Final = "extractive"
"""`Answer.answered_by` when no language model was asked."""

RECALLED_MIN: Final = 20
"""Utterances recalled at least: several clips may carry the same one."""


NAMES_BESIDE_PICTURES: Final = {TRANSCRIPT: 0.0, TRANSCRIPT_FEATURES: 0.0}
"""What is seen is searched by likeness, labels and sounds; what was said, by `recall` and for itself."""


class LanguageModel(Protocol):
    """Turns a chat into text."""

    @property
    def name(self) -> str: ...

    def complete(self, messages: Sequence[dict[str, str]]) -> str: ...


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
        return {"question": self.text, "error": str(self.error)}


class Reasoner:
    """Answers questions from one user's memory."""

    def __init__(
        self,
        user: User,
        space: Space,
        encoder: QuestionEncoder,
        *,
        model: LanguageModel | None = None,
    ) -> None:
        """``encoder`` embeds into ``space``, the space of the streams to be searched."""
        self._user = user
        self._space = space
        self._encoder = encoder
        self._model = model
        text_space = user.text_space()
        # Where pictures and speech share a space (the bundled profile), one feature serves both
        # arms.
        self._shares_space = text_space is not None and text_space.name == space.name
        # Their vectors are of what was said: a question is likelier alike to its words than to any picture.
        self._has_sounds = any(item.value == MEDIUM_SOUND for item in user.labels(key=MEDIUM_LABEL))

    def ask(
        self,
        text: str,
        *,
        limit: int = 4,
        scope: Scope = EVERYWHERE,
        as_of: AsOf | None = None,
        min_score: float | None = None,
        min_relevance: float | None = None,
        zone: str | None = None,
        valid_at: ValidAt | None = None,
    ) -> Answer:
        """Answer one question.

        min_score: clips less similar than this are not seen; min_relevance: nor less relevant ones, and
        where none is left the answer says so, and where it looked.  Names are not looked at with either.
        zone: by the clock of which time zone the answer tells times; None for UTC, and for the hours that it
        looked at, each camera's.  valid_at: facts that hold then, as in `User.recall`; None for now, or with
        ``as_of`` for then.

        A language model that fails costs its words alone: the answer is extractive, and says so
        (`Answer.model_error`).  Raises `InvalidArgument` for a question or limit out of bounds, `NotFound` for a
        user, stream or moment that does not exist, and what the database raises.
        """
        started_s = time.perf_counter()
        question = parse_question(text)
        feature = self._encoder.encode([question.subject])[0]
        # A least similarity or relevance is one of pictures: of fused scores it would say nothing.
        named = min_score is None and min_relevance is None
        encoded_s = time.perf_counter()
        grounding = self._user.ground(
            feature,
            limit=limit,
            streams=scope.cameras,
            start_ns=scope.start_ns,
            end_ns=scope.end_ns,
            as_of=as_of,
            min_score=min_score,
            min_relevance=min_relevance,
            **_hours(scope.calendar),
            labels=self._seen_labels(scope),
            space=self._space.name,
            text=question.subject if named else None,
            weights=NAMES_BESIDE_PICTURES if named else None,
            explain=True,
            # Times, texts and labels are all that is cited.
            with_global_memory=False,
            with_keyframes=False,
        )
        grounded_s = time.perf_counter()
        # Both arms read one revision, so that an answer is of one moment and can be asked again.
        moment = grounding.revision if as_of is None else as_of
        recall = self._recalled(
            question.subject,
            # A fact is none of a camera's, nor of an hour: what lies outside is dropped below.
            min(max(RECALLED_MIN, 4 * limit), LIMIT_MAX) if scope.is_whole else LIMIT_MAX,
            scope,
            moment,
            feature if self._shares_space else None,
            # The newest commit may be of last week; the question is of now.
            NOW if as_of is None and valid_at is None else valid_at,
        )
        said = said_evidence(question, recall.hits, scope, self._user, moment, limit)
        recalled_s = time.perf_counter()
        seen = seen_evidence(filter(_is_seen, grounding.hits))
        evidence = fuse(question, seen, said.evidence, limit)
        durations_ms = {
            "encode": (encoded_s - started_s) * 1e3,
            "ground": (grounded_s - encoded_s) * 1e3,
            "recall": (recalled_s - grounded_s) * 1e3,
        }
        answered_by: str = EXTRACTIVE
        cited: tuple[int, ...] = (0,) if answers(question, evidence) else ()
        answer = extract(question, evidence[0] if cited else None, grounding, zone)
        model_error: MemdbError | None = None
        if self._model is not None:
            nothing = describe_abstention(grounding, zone) if grounding.abstained else None
            try:
                answer = self._model.complete(messages(question.text, evidence, nothing, zone))
            except MemdbError as error:
                model_error = error
            else:
                answered_by, cited = self._model.name, citations(answer, len(evidence))
            durations_ms["llm"] = (time.perf_counter() - recalled_s) * 1e3
        durations_ms["total"] = (time.perf_counter() - started_s) * 1e3
        return Answer(
            question,
            answer,
            evidence,
            cited,
            answered_by,
            grounding.revision,
            recall.arms,
            durations_ms,
            grounding.abstained,
            grounding.coverage,
            zone or UTC_ZONE,
            model_error,
            recall.valid_at_ns,
            said.unplaced,
        )

    def _seen_labels(self, scope: Scope) -> dict[str, tuple[str, ...] | Not] | None:
        """The labels of clips to be seen: places among the hits are for them."""
        labels = dict(scope.labels)
        if self._has_sounds:
            labels.setdefault(MEDIUM_LABEL, Not(MEDIUM_SOUND))
        return labels or None

    def _recalled(
        self,
        subject: str,
        limit: int,
        scope: Scope,
        as_of: AsOf,
        feature: Array | None,
        valid_at: ValidAt | None,
    ) -> Recall:
        """The best ``limit`` of what was said and is known, or as many as one message holds: an utterance comes with
        all of its clip, keyframes too.
        """
        while True:
            try:
                return self._user.recall(
                    subject,
                    limit=limit,
                    as_of=as_of,
                    feature=feature,
                    streams=scope.cameras,
                    start_ns=scope.start_ns,
                    end_ns=scope.end_ns,
                    labels=dict(scope.labels) or None,
                    valid_at=valid_at,
                    **_hours(scope.calendar),
                )
            except ResourceExhausted as error:
                if error.reason != "MESSAGE_TOO_LARGE" or limit == 1:
                    raise
            limit //= 2


class _Hours(TypedDict):
    """Options of `User.ground` and `User.recall`."""

    hours: list[tuple[str, str]] | None
    weekdays: tuple[int, ...] | None
    zone: str | None


def _hours(calendar: Calendar | None) -> _Hours:
    if calendar is None:
        return _Hours(hours=None, weekdays=None, zone=None)
    return _Hours(
        hours=clock_texts(calendar), weekdays=calendar.weekdays or None, zone=calendar.zone
    )


def extract(
    question: Question, best: Evidence | None, grounding: Grounding, zone: str | None = None
) -> str:
    """The best evidence as a sentence, quoting and nothing more."""
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


def _is_seen(hit: Hit) -> bool:
    """Whether a clip has pictures; one that was only heard is found by what was said, also where it is asked for."""
    return hit.clip.labels.get(MEDIUM_LABEL) != MEDIUM_SOUND


def _gaps(grounding: Grounding) -> str:
    missing = sum(gap.last_seq - gap.first_seq + 1 for gap in grounding.gaps)
    return f" ({missing} clips of this time are missing from memory.)" if missing else ""
