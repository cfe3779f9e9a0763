"""From a question to an answer that cites its moments.

`Reasoner.ask` embeds the question, grounds it, recalls it at the same revision, fuses the evidence
(`reasoner.evidence`) and answers: with a language model in its words, without one *extractively* —
the best evidence quoted with its camera and time — and the answer says which.  Either way it cites
evidence by index, and evidence is always real: a moment that memory returned, never one that a
model made up.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final, Protocol

from memdb.errors import MemdbError, ResourceExhausted
from memdb.types.arm import TRANSCRIPT, TRANSCRIPT_FEATURES
from memdb.types.label_filter import Not
from memdb.types.limits import LIMIT_MAX
from memdb.types.validity import NOW
from memdb.types.zone import UTC_ZONE
from perception.sound_label import MEDIUM_LABEL, MEDIUM_SOUND
from reasoner.abstention import describe_abstention
from reasoner.answer import EXTRACTIVE, Answer
from reasoner.evidence import (
    EVERYWHERE,
    Evidence,
    Scope,
    answers,
    fuse,
    said_evidence,
    seen_evidence,
)
from reasoner.extractive import extract
from reasoner.hours import hours_of
from reasoner.last_said import last_said
from reasoner.prompts import citations, messages
from reasoner.questions import Question, QuestionEncoder, parse_question

if TYPE_CHECKING:
    from memdb.types.arrays import Array
    from memdb.types.database import User
    from memdb.types.fact import About, Recall
    from memdb.types.grounding import AsOf, Grounding, Hit
    from memdb.types.space import Space
    from memdb.types.validity import ValidAt

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
class _Worded:
    """The words of an answer."""

    text: str
    cited: tuple[int, ...]
    by: str
    model_error: MemdbError | None = None


class _Stopwatch:
    """How long each step took."""

    def __init__(self) -> None:
        self._times_s = [time.perf_counter()]
        self._names: list[str] = []

    def lap(self, name: str) -> None:
        """A step ended, and the next begins."""
        self._names.append(name)
        self._times_s.append(time.perf_counter())

    def durations_ms(self) -> dict[str, float]:
        """Of each step by name, and the ``total`` until now."""
        pairs = zip(self._times_s, self._times_s[1:], strict=False)
        durations = {
            name: (end_s - start_s) * 1e3
            for name, (start_s, end_s) in zip(self._names, pairs, strict=True)
        }
        return {**durations, "total": (time.perf_counter() - self._times_s[0]) * 1e3}


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
        about: About | None = None,
    ) -> Answer:
        """Answer one question.

        min_score: clips less similar than this are not seen; min_relevance: nor less relevant ones, and
        where none is left the answer says so, and where it looked.  Names are not looked at with either.
        zone: by the clock of which time zone the answer tells times; None for UTC, and for the hours that it
        looked at, each camera's.  valid_at: facts that hold then, as in `User.recall`; None for now, or with
        ``as_of`` for then.  about: facts about one of these things alone, as in `User.recall`.

        A language model that fails costs its words alone: the answer is extractive, and says so
        (`Answer.model_error`).  Raises `InvalidArgument` for a question or limit out of bounds, `NotFound` for a
        user, stream or moment that does not exist, and what the database raises.
        """
        clock = _Stopwatch()
        question = parse_question(text)
        feature = self._encoder.encode([question.subject])[0]
        clock.lap("encode")
        grounding = self._grounded(
            question, feature, limit, scope, as_of, min_score=min_score, min_relevance=min_relevance
        )
        clock.lap("ground")
        # Both arms read one revision, so that an answer is of one moment and can be asked again: the name of a snapshot
        # may stand for another by now.  A time is that at which facts hold, too.
        moment = as_of if isinstance(as_of, datetime) else grounding.revision
        recall = self._recalled(
            question.subject,
            # A fact is none of a camera's, nor of an hour: what lies outside is dropped below.
            min(max(RECALLED_MIN, 4 * limit), LIMIT_MAX) if scope.is_whole else LIMIT_MAX,
            scope,
            moment,
            feature if self._shares_space else None,
            # The newest commit may be of last week; the question is of now.
            NOW if as_of is None and valid_at is None else valid_at,
            about,
        )
        said = said_evidence(question, recall.hits, scope, self._user, moment, limit)
        clock.lap("recall")
        seen = seen_evidence(filter(_is_seen, grounding.hits))
        evidence = fuse(question, seen, said.evidence, limit)
        if question.is_of_anything_said:
            hours = hours_of(scope.calendar)
            evidence = tuple(last_said(self._user, scope, hours, grounding.revision, limit))
        worded = self._worded(question, evidence, grounding, zone)
        if self._model is not None:
            clock.lap("llm")
        return Answer(
            question,
            worded.text,
            evidence,
            worded.cited,
            worded.by,
            grounding.revision,
            recall.arms,
            clock.durations_ms(),
            grounding.abstained,
            grounding.coverage,
            zone or UTC_ZONE,
            worded.model_error,
            recall.valid_at_ns,
            said.unplaced,
        )

    def _grounded(
        self,
        question: Question,
        feature: Array,
        limit: int,
        scope: Scope,
        as_of: AsOf | None,
        *,
        min_score: float | None,
        min_relevance: float | None,
    ) -> Grounding:
        """The clips that show it."""
        # A least similarity or relevance is one of pictures: of fused scores it would say nothing.
        named = min_score is None and min_relevance is None
        return self._user.ground(
            feature,
            limit=limit,
            streams=scope.cameras,
            start_ns=scope.start_ns,
            end_ns=scope.end_ns,
            as_of=as_of,
            min_score=min_score,
            min_relevance=min_relevance,
            **hours_of(scope.calendar),
            labels=self._seen_labels(scope),
            space=self._space.name,
            text=question.subject if named else None,
            weights=NAMES_BESIDE_PICTURES if named else None,
            explain=True,
            # Times, texts and labels are all that is cited.
            with_global_memory=False,
            with_keyframes=False,
        )

    def _worded(
        self,
        question: Question,
        evidence: tuple[Evidence, ...],
        grounding: Grounding,
        zone: str | None,
    ) -> _Worded:
        """By the language model, where there is one that answers; else by the best evidence."""
        cited: tuple[int, ...] = (0,) if answers(question, evidence) else ()
        if question.is_of_anything_said and cited:
            cited = tuple(range(len(evidence)))
        text = extract(question, [evidence[index] for index in cited], grounding, zone)
        if self._model is None:
            return _Worded(text, cited, EXTRACTIVE)
        nothing = describe_abstention(grounding, zone) if grounding.abstained else None
        try:
            text = self._model.complete(messages(question.text, evidence, nothing, zone))
        except MemdbError as error:
            return _Worded(text, cited, EXTRACTIVE, error)
        return _Worded(text, citations(text, len(evidence)), self._model.name)

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
        about: About | None,
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
                    about=about,
                    **hours_of(scope.calendar),
                )
            except ResourceExhausted as error:
                if error.reason != "MESSAGE_TOO_LARGE" or limit == 1:
                    raise
            limit //= 2


def _is_seen(hit: Hit) -> bool:
    """Whether a clip has pictures; one that was only heard is found by what was said, also where it is asked for."""
    return hit.clip.labels.get(MEDIUM_LABEL) != MEDIUM_SOUND
