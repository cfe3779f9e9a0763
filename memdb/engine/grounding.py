"""Grounding: from a question feature to the clips that answer it.

view -> revision -> filter to rows (`scope`) -> search, policy (`ranking`) -> late interaction -> hydrate
(`hit_reader`) -> gaps.  Works on one immutable view, so it never waits for a writer, and an answer as of a revision
is the same for ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from memdb.engine import one_go
from memdb.engine.at_once import check_light
from memdb.engine.candidates import candidate_rows
from memdb.engine.explain import explain, explain_similarity
from memdb.engine.footage import footage
from memdb.engine.ground_window import NOTHING, shown
from memdb.engine.hit_reader import HitReader, columns, with_damaged
from memdb.engine.hybrid import check_text_feature
from memdb.engine.question import Question
from memdb.engine.ranking import Ranking, newest, newest_ranked, ranking
from memdb.engine.reading import Reading
from memdb.engine.rerank_words import WithWords, with_words
from memdb.engine.scope import Scope, scope_of, searched
from memdb.engine.standing_out import by_standing_out
from memdb.engine.view import View
from memdb.errors import InvalidArgument
from memdb.store.environment import Environment
from memdb.store.idents import IdKind, make_id
from memdb.types.arrays import Array, check_dim
from memdb.types.grounding import TOKENS_POLICY, Grounding, Hit
from memdb.types.stream import Gap

_NONE_RANKED: Final = NOTHING, np.empty(0)


def ground(
    environment: Environment | None, view: View, question: Question, as_of: int | None
) -> Grounding:
    """Answer ``question`` on ``view``, or as of an earlier revision.

    environment: None for an answer at once (`memdb.engine.at_once`); raises `WouldWait` where there is none.
    """
    if environment is None:
        check_light(view, question)
    if as_of is None and question.fits_one_go and not view.are_together:
        answer = one_go.answer(environment, view, question)
        if answer is not None:
            return answer
    where = searched(view, question, as_of)
    _check_features(view, question, where.space_no)
    scope = scope_of(view, question, as_of, where)
    if scope is None:
        told = where.told
        covered = footage(None, None, where.streams, told.missing)
        return Grounding(
            (),
            where.revision,
            "none",
            told.gaps,
            covered,
            abstained=True,
            gaps_left_out=told.left_out,
        )
    if question.policy == TOKENS_POLICY:
        return _by_tokens(environment, scope)
    if environment is None:
        scope = replace(scope, at_once=True)
    return _by_rank(environment, scope)


def _check_features(view: View, question: Question, space_no: int | None) -> None:
    """Raises `InvalidArgument` for a feature, tokens or a policy that are not of the space, also where nothing was
    written yet: what is wrong with a question does not depend on what there is to find.
    """
    if question.words is not None:
        check_text_feature(view, question.words)
    space = question.named_space if space_no is None else view.state.spaces[space_no]
    if space is None:
        return
    if question.feature is not None:
        check_dim(question.feature, space.dim, "question_feature")
        # Its first element tells, nearly always.
        if space.metric == "cosine" and question.feature[0] == 0.0:
            _check_direction(question.feature, "question_feature")
    if question.tokens is not None:
        check_dim(question.tokens, space.dim, "question_tokens")
        if question.policy == TOKENS_POLICY:
            _check_direction(question.tokens, "question_tokens")
    if question.policy not in ("top", TOKENS_POLICY) and space.metric != "cosine":
        raise InvalidArgument(
            "the published policies compare cosines; this space is not one of cosine",
            reason="BAD_POLICY",
            field="policy",
            value=question.policy,
        )


def _check_direction(elements: Array, field: str) -> None:
    """Raises `InvalidArgument` (``ZERO_VECTOR``)."""
    if not elements.any():
        raise InvalidArgument("a zero vector has no direction", reason="ZERO_VECTOR", field=field)


def _by_rank(environment: Environment | None, scope: Scope) -> Grounding:
    """The answer to a question that has a feature, words, or both."""
    question, partition = scope.question, scope.partition
    ranked = ranking(scope)
    abstained = len(ranked.rows) == 0
    fallback = "none"
    if abstained and question.may_fall_back:
        ranked = newest_ranked(scope, ranked)
        fallback = "recent" if len(ranked.rows) else "none"
    first = question.rerank
    rest = ranked.rows[first:], ranked.scores[first:]
    late: WithWords | None = None
    with Reading(environment) as reading:
        reader = HitReader(reading, scope, ranked.relevances())
        if question.tokens is None:
            hits: list[Hit] = []
            by_score = question.words is None
            _, behind = shown(
                question.window, question.limit, partition, _NONE_RANKED, rest, by_score=by_score
            )
        else:
            hits, behind, late = _reranked(reader, scope, ranked)
        hits += reader.plain(rest[0][behind], rest[1][behind])
    if question.explain:
        hits = _explained(scope, ranked, late, hits, reader)
    return _answer(scope, hits, fallback, reader.damaged, abstained, ranked.approximate)


def _reranked(
    reader: HitReader, scope: Scope, ranked: Ranking
) -> tuple[list[Hit], slice, WithWords | None]:
    """The candidates re-ordered by late interaction, beside the words where there are some, and which of the
    rest are shown behind them; a clip without short-term memory keeps its own score, without words last.
    """
    question, count = scope.question, scope.question.rerank
    rows, scores = ranked.rows[:count], ranked.scores[:count]
    interaction = reader.interaction()
    scored = interaction.rank(rows, question.rerank_work_max, "rerank", count)
    if ranked.by_standing_out:
        assert ranked.relevance is not None, "there is a query"
        scored = by_standing_out(ranked.relevance, interaction, rows, scored)
    late = None
    if ranked.found is not None and question.words is not None:
        late = with_words(ranked.found, question.words, scored)
        scored = late.ranked
    here, behind = shown(
        question.window,
        question.limit,
        scope.partition,
        columns(scored),
        (ranked.rows[count:], ranked.scores[count:]),
        candidates=count,
        by_score=not count and question.words is None,
    )
    own = dict(zip(rows.tolist(), scores.tolist(), strict=True))
    return reader.matched(interaction, scored[here], own), behind, late


def _explained(
    scope: Scope, ranked: Ranking, late: WithWords | None, hits: Sequence[Hit], reader: HitReader
) -> list[Hit]:
    """The hits with what each arm gave; the scores of ``ranked`` are those before re-ranking, which with words gives
    an arm of its own.
    """
    question, rows, ranks = scope.question, ranked.rows, ranked.ranks
    id_key = scope.view.state.id_key
    numbers = scope.partition.columns["clip_no"][rows].tolist()
    places = {make_id(id_key, IdKind.CLIP, no): place for place, no in enumerate(numbers)}
    explained: list[Hit] = []
    for hit in hits:
        place = places[hit.clip.id]
        if ranked.found is None or question.words is None:
            rank = None if ranks is None else int(ranks[place])
            arms = explain_similarity(ranked.scores, place, rank)
        else:
            given = ranked.found.arms
            if late is not None and place < question.rerank:
                given = late.arms(rows[place])
            arms = explain(given, int(rows[place]), hit.clip, question.words.text)
        explained.append(replace(hit, arms=reader.size.add_arms(arms)))
    return explained


def _by_tokens(environment: Environment | None, scope: Scope) -> Grounding:
    """The answer to a question that has no feature."""
    question, partition = scope.question, scope.partition
    assert question.tokens is not None, "the policy asks for them"
    work = question.rerank_work_max, "question_tokens", question.tokens.shape
    fallback = "none"
    with Reading(environment) as reading:
        reader = HitReader(reading, scope, {})
        interaction = reader.interaction()
        rows = candidate_rows(partition, question.tokens, scope.allowed, question.rerank)
        least = -np.inf if question.min_score is None else question.min_score
        ranked = [
            scored
            for scored in interaction.rank(rows, *work)
            if scored.score is not None and scored.score >= least
        ]
        abstained = not ranked
        if abstained and question.may_fall_back:
            ranked = interaction.rank(newest(scope), *work)
            fallback = "recent" if ranked else "none"
        here, _ = shown(question.window, question.limit, partition, columns(ranked), _NONE_RANKED)
        hits = reader.matched(interaction, ranked[here], {})
    return _answer(scope, hits, fallback, reader.damaged, abstained)


def _answer(
    scope: Scope,
    hits: Sequence[Hit],
    fallback: str,
    damaged: Sequence[Gap],
    abstained: bool,
    approximate: bool = False,
) -> Grounding:
    """The hits, with where was searched and what is missing there."""
    told = with_damaged(scope, damaged)
    return Grounding(
        tuple(hits),
        scope.searched.revision,
        fallback,
        told.gaps,
        scope.covered(told, abstained=abstained),
        abstained,
        approximate=approximate,
        gaps_left_out=told.left_out,
    )
