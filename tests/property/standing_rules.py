"""Standing questions in the state machine: asked, removed, told from any cursor, against the oracle.

Of questions for a score the oracle knows every alert; of those for a relevance, that `ground` says the same of
each as of its commit, and that nothing changes when a database comes back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from memdb import Alert, AlreadyExists
from tests.property.model import CLOSE, UserModel, Version, named_vector
from tests.property.strategies import SPACES, STREAMS, VECTORS, marks, packed, users

SPACE = "cos"


@dataclass(frozen=True)
class Asked:
    """A question that the model knows."""

    feature: int
    min_score: float | None
    min_relevance: float | None
    streams: tuple[str, ...] | None
    sealed_only: bool
    birth: int

    def options(self) -> dict[str, Any]:
        """As it is created."""
        return {
            "min_score": self.min_score,
            "min_relevance": self.min_relevance,
            "streams": self.streams,
            "sealed_only": self.sealed_only,
            "space": SPACE,
        }


def _asked(drawn: dict[str, Any]) -> Asked:
    min_score, min_relevance = drawn.pop("thresholds")
    return Asked(**drawn, min_score=min_score, min_relevance=min_relevance, birth=0)


standing_questions = packed(
    feature=VECTORS,
    thresholds=(
        *((score, None) for score in (-0.1, 0.3, 0.8)),
        *((None, relevance) for relevance in (0.01, 0.2, 0.6)),
    ),
    streams=(None, None, ("porch",), ("yard", "porch")),
    sealed_only=(False, True),
).map(_asked)
"""A question of the cosine space."""


class StandingRules:
    """Mixed into the engine's machine."""

    db: Any
    models: dict[str, UserModel]
    clock: Any

    @rule(user=users, question=standing_questions, name=st.sampled_from((None, None, "mug", "cat")))
    @precondition(lambda self: bool(self.models))
    def ask_from_now_on(self, user: str, question: Asked, name: str | None) -> None:
        user, model = self._known_user(user)
        there = {s for s, space in model.streams_at(model.revision).items() if space.name == SPACE}
        if question.streams is not None and not set(question.streams) <= there:
            return
        create = self.db.user(user).standing.create
        feature = named_vector(question.feature, SPACES[SPACE].dim)
        known = model.asked.get(model.names.get(name or "", ""))
        if known is not None:
            if known.feature == question.feature and known.options() == question.options():
                assert (
                    create(feature, **question.options(), name=name).id == model.names[name or ""]
                )
            else:
                with pytest.raises(AlreadyExists):
                    create(feature, **question.options(), name=name)
            return
        made = create(feature, **question.options(), name=name)
        model.committed([(model.revision + 1, "standing", made.id)], self.clock.now_ns())
        assert made.revision == model.revision
        assert made.id not in model.asked
        model.asked[made.id] = Asked(
            question.feature,
            question.min_score,
            question.min_relevance,
            question.streams,
            question.sealed_only,
            made.revision,
        )
        if name is not None:
            model.names[name] = made.id

    @rule(user=users, mark=marks)
    @precondition(lambda self: any(model.asked for model in self.models.values()))
    def ask_no_more(self, user: str, mark: int) -> None:
        user, model = self._known_user(user)
        if not model.asked:
            return
        question_id = sorted(model.asked)[mark % len(model.asked)]
        self.db.user(user).standing.remove(question_id)
        change = (model.revision + 1, "remove-standing", question_id)
        model.committed([change], self.clock.now_ns())
        del model.asked[question_id]

    @rule(user=users, mark=marks)
    @precondition(lambda self: any(model.asked for model in self.models.values()))
    def told(self, user: str, mark: int) -> None:
        user, model = self._known_user(user)
        standing = self.db.user(user).standing
        assert {one.id: one.revision for one in standing.list()} == {
            question_id: asked.birth for question_id, asked in model.asked.items()
        }
        alerts: list[Alert] = list(standing.watch(follow=False))
        assert len({alert.id for alert in alerts}) == len(alerts)
        got: dict[str, set[str]] = {question_id: set() for question_id in model.asked}
        for alert in alerts:
            assert alert.clip_id is not None
            got[alert.question_id].add(alert.clip_id)
        for question_id, asked in model.asked.items():
            if asked.min_score is not None:
                surely, maybe = _expected(model, asked, asked.min_score)
                assert surely <= got[question_id] <= maybe
        if alerts:
            self._check_relevance(user, model, alerts[mark % len(alerts)])
            place = mark % len(alerts)
            rest = list(standing.watch(cursor=alerts[place].cursor, follow=False))
            assert rest == alerts[place + 1 :]

    def _check_relevance(self, user: str, model: UserModel, alert: Alert) -> None:
        """What `ground` says of the clip as of the commit with which it was told."""
        asked = model.asked[alert.question_id]
        if asked.min_relevance is None or alert.stream is None:
            return
        answer = self.db.user(user).ground(
            named_vector(asked.feature, SPACES[SPACE].dim),
            as_of=alert.revision,
            streams=[alert.stream],
            limit=200,
            space=SPACE,
        )
        hits = {hit.clip.id: hit for hit in answer.hits}
        hit = hits[alert.clip_id or ""]
        assert hit.relevance is not None
        assert hit.relevance >= asked.min_relevance - CLOSE

    def _known_user(self, user: str) -> tuple[str, UserModel]:
        name = user if user in self.models else next(iter(self.models))
        return name, self.models[name]

    def alerts_of(self, user: str) -> list[Alert]:
        """All that a user is told."""
        return list(self.db.user(user).standing.watch(follow=False))


def _expected(model: UserModel, asked: Asked, least: float) -> tuple[set[str], set[str]]:
    """(clips that are told for sure, clips that may be): one within rounding of the bar may."""
    surely: set[str] = set()
    maybe: set[str] = set()
    versions: list[Version] = [
        version
        for version in model.versions
        if version.birth > asked.birth
        and version.space.name == SPACE
        and version.stream in (asked.streams or tuple(STREAMS))
        and (version.content.sealed or not asked.sealed_only)
    ]
    for score, version in model.scored(named_vector(asked.feature, SPACES[SPACE].dim), versions):
        if score >= least + CLOSE:
            surely.add(version.clip_id)
        if score >= least - CLOSE:
            maybe.add(version.clip_id)
    return surely, maybe
