"""Grounding: from a question feature to the clips that answer it.

view -> revision -> filter to rows -> search -> policy -> late interaction -> hydrate -> gaps.
Works on one immutable view, so it never waits for a writer, and an answer as of a revision is the
same for ever.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from memdb import deadline
from memdb.engine.at_once import is_small
from memdb.engine.calendar_rows import within_calendar
from memdb.engine.candidates import candidate_rows
from memdb.engine.explain import explain, explain_similarity
from memdb.engine.footage import footage, searched_streams
from memdb.engine.ground_window import NOTHING, shown
from memdb.engine.hybrid import Found, check_text_feature, search_arms
from memdb.engine.hydrate import AnswerSize
from memdb.engine.policies import select
from memdb.engine.question import Question
from memdb.engine.reading import Reading, WouldWait
from memdb.engine.relevance import Relevance, relevant
from memdb.engine.rerank import LateInteraction, Scored
from memdb.engine.rerank_words import WithWords, with_words
from memdb.engine.standing_out import by_standing_out, similarity_ranks, standing_out
from memdb.engine.state import StreamState
from memdb.engine.view import View
from memdb.errors import DataLoss, InvalidArgument
from memdb.index.partition import Filter, PartitionView
from memdb.store.environment import Environment
from memdb.store.idents import IdKind, make_id
from memdb.types.arrays import Array, check_dim
from memdb.types.clip import StoredClip
from memdb.types.coverage import StreamCoverage
from memdb.types.grounding import (
    TOKENS_POLICY,
    Grounding,
    Hit,
)
from memdb.types.stream import Gap

_NONE_RANKED: Final = NOTHING, np.empty(0)


def ground(
    environment: Environment | None, view: View, question: Question, as_of: int | None
) -> Grounding:
    """Answer ``question`` on ``view``, or as of an earlier revision.

    environment: None for an answer at once (`memdb.engine.at_once`); raises `WouldWait` where there is none.
    """
    if environment is None and not is_small(view):
        raise WouldWait
    revision = view.revision if as_of is None else as_of
    stream_nos = view.stream_nos(question.streams, as_of)
    named = question.named_space
    space_no = view.searched_space(stream_nos, question.space, as_of, named)
    streams, gaps = view.once(
        (stream_nos, space_no, revision, question.start_ns, question.end_ns),
        lambda: _searched(view, question, stream_nos, space_no, revision),
        lambda searched: sum(map(len, searched)),
    )
    if question.words is not None:
        check_text_feature(view, question.words)
    space = named if space_no is None else view.state.spaces[space_no]
    if space is not None:
        if question.feature is not None:
            check_dim(question.feature, space.dim, "question_feature")
        if question.tokens is not None:
            check_dim(question.tokens, space.dim, "question_tokens")
        if question.policy not in ("top", TOKENS_POLICY) and space.metric != "cosine":
            raise InvalidArgument(
                "the published policies compare cosines; this space is not one of cosine",
                reason="BAD_POLICY",
                field="policy",
                value=question.policy,
            )
    partition = None if space_no is None else view.partitions.get(space_no)
    if partition is not None and as_of is not None:
        partition = partition.until(as_of)
    if partition is None:
        return Grounding(
            (), revision, "none", gaps, footage(None, None, streams, gaps), abstained=True
        )
    which = Filter(stream_nos, question.start_ns, question.end_ns, labels=question.labels)
    allowed = partition.allowed(which, as_of)
    calendar = question.calendar
    if calendar is not None:
        admitted = allowed
        allowed = partition.narrowed(
            (calendar, which, as_of),
            lambda: within_calendar(calendar, partition, admitted, streams),
        )
    if question.policy == TOKENS_POLICY:
        return _by_tokens(environment, view, partition, question, as_of, allowed, streams, gaps)
    feature = _feature(view, question, space_no, as_of)
    query = None if feature is None else partition.unit(feature)
    if query is not None and partition.cosine and not query.any():
        raise InvalidArgument(
            "a zero vector has no direction", reason="ZERO_VECTOR", field="question_feature"
        )
    wanted = question.reach
    stands_out = question.by_standing_out and partition.cosine and query is not None
    # Within one stream what stands out most is what is most alike.
    compared = stands_out and question.words is None and len(streams) > 1
    found: Found | None = None
    approximate = False
    if question.words is not None:
        # What is told of a hit does not depend on how many are: it is told its place among all.
        reach = partition.rows if question.explain else wanted
        found = search_arms(view, partition, query, question.words, allowed, as_of, reach)
        rows, scores = found.best(wanted)
    else:
        assert query is not None, "a question without words has a feature"
        if as_of is None and question.may_be_approximate and not compared:
            rows, scores, approximate = partition.search_now(query, wanted, allowed)
        else:
            rows, scores = select(question.policy, partition, query, allowed, wanted)
    relevance = None if query is None else Relevance(partition, query, as_of)
    if question.min_relevance is not None:
        assert relevance is not None, "it was checked that there is a feature"
        least, best_first = question.min_relevance, question.policy == "top"
        rows, scores = relevant(relevance, least, (rows, scores), allowed, wanted, best_first)
    if question.min_score is not None:
        # In float64, or what is asked for would be rounded to what a score can be.
        passed = scores.astype(np.float64) >= question.min_score
        if approximate and not passed.any():
            # That there is nothing, or the newest in its place, is said of all clips.
            assert query is not None, "there are no words"
            rows, scores = partition.search(query, wanted, allowed)
            passed, approximate = scores.astype(np.float64) >= question.min_score, False
        rows, scores = rows[passed], scores[passed]
    abstained = len(rows) == 0
    ranks: Array | None = None
    if compared and relevance is not None and not abstained:
        bars = {"min_score": question.min_score, "min_relevance": question.min_relevance}
        rows, scores = standing_out(relevance, (rows, scores), allowed, question.rerank, **bars)
        if question.explain:
            ranks = similarity_ranks(relevance, rows, allowed, **bars)
    fallback = "none"
    with Reading(environment) as reading:
        if len(rows) == 0 and question.may_fall_back:
            rows = _newest(partition, allowed)
            if found is not None:
                assert question.words is not None
                # The newest need not be among the best, of which alone `found` knows all.
                found = search_arms(
                    view, partition, query, question.words, allowed, as_of, partition.rows
                )
                scores = found.scores_of(rows)
            else:
                assert query is not None, "a question without words has a feature"
                # As a search scores it, to the last bit.
                scores = partition.scores_of(query, rows)
            fallback = "recent" if len(rows) else "none"
        standing = _standing(partition, query, relevance, rows, None if found else scores)
        first = question.rerank
        size = AnswerSize(question.answer_bytes_max)
        damaged: list[Gap] = []
        hits: list[Hit] = []
        rest = rows[first:], scores[first:]
        late: WithWords | None = None
        if question.tokens is None:
            plain = question.words is None
            _, behind = shown(
                question.window, question.limit, partition, _NONE_RANKED, rest, by_score=plain
            )
        else:
            more, behind, late = _reranked(
                reading,
                view,
                partition,
                question,
                as_of,
                size,
                rows[:first],
                scores[:first],
                damaged,
                standing,
                rest,
                found,
                relevance if stands_out else None,
            )
            hits += more
        hits += _plain_hits(
            reading,
            view,
            partition,
            question,
            size,
            damaged,
            rest[0][behind],
            rest[1][behind],
            standing,
        )
    if question.explain:
        hits = _explained(view, partition, question, rows, scores, ranks, found, late, hits, size)
    gaps = _told_once(gaps, damaged)
    covered = _covered(partition, question, allowed, streams, gaps, abstained)
    return Grounding(
        tuple(hits), revision, fallback, gaps, covered, abstained, approximate=approximate
    )


def _searched(
    view: View,
    question: Question,
    stream_nos: tuple[int, ...] | None,
    space_no: int | None,
    revision: int,
) -> tuple[tuple[StreamState, ...], tuple[Gap, ...]]:
    """Which streams a question looks at, and what is missing of them in its range."""
    streams = tuple(searched_streams(view.state, stream_nos, space_no, revision))
    names = {stream.no: stream.name for stream in streams}
    return streams, tuple(view.gaps(names, revision, question.start_ns, question.end_ns))


def _standing(
    partition: PartitionView,
    query: Array | None,
    relevance: Relevance | None,
    rows: Array,
    scores: Array | None,
) -> dict[int, float]:
    """The relevance of rows; ``scores`` are their similarities, None where words were weighed in."""
    if relevance is None or query is None:
        return {}
    if scores is None:
        scores = partition.scores_of(query, rows)
    return dict(zip(rows.tolist(), relevance.of(rows, scores).tolist(), strict=True))


def _covered(
    partition: PartitionView,
    question: Question,
    allowed: Array | None,
    streams: Sequence[StreamState],
    gaps: tuple[Gap, ...],
    abstained: bool,
) -> tuple[StreamCoverage, ...]:
    """What was searched, where the answer is to say so."""
    if not (abstained or question.with_coverage):
        return ()
    return footage(partition, allowed, streams, gaps)


def _told_once(gaps: tuple[Gap, ...], damaged: list[Gap]) -> tuple[Gap, ...]:
    """The gaps, and damage that was met just now: that of an earlier question is among the gaps."""
    return (*gaps, *(gap for gap in damaged if gap not in gaps))


def _feature(
    view: View, question: Question, space_no: int | None, as_of: int | None
) -> Array | None:
    """What the clips' global memory is compared with; the text's feature where it is of their space."""
    if question.feature is None and question.words is not None:
        feature = question.words.feature
        shared = view.text_space_no(as_of) == space_no
        # One that has no direction says nothing; the words may.
        return feature if shared and feature is not None and feature.any() else None
    return question.feature


def _explained(
    view: View,
    partition: PartitionView,
    question: Question,
    rows: Array,
    scores: Array,
    ranks: Array | None,
    found: Found | None,
    late: WithWords | None,
    hits: Sequence[Hit],
    size: AnswerSize,
) -> list[Hit]:
    """The hits with what each arm gave; ``scores`` are those before re-ranking, which with words gives an arm
    of its own.  ranks: by similarity, where the rows are not the most similar ones.
    """
    numbers = partition.columns["clip_no"][rows].tolist()
    ids = {make_id(view.state.id_key, IdKind.CLIP, no): i for i, no in enumerate(numbers)}
    explained: list[Hit] = []
    for hit in hits:
        place = ids[hit.clip.id]
        arms = (
            explain_similarity(scores, place, None if ranks is None else int(ranks[place]))
            if found is None or question.words is None
            else explain(
                found.arms if late is None or place >= question.rerank else late.arms(rows[place]),
                int(rows[place]),
                hit.clip,
                question.words.text,
            )
        )
        explained.append(replace(hit, arms=size.add_arms(arms)))
    return explained


def _newest(partition: PartitionView, allowed: Array | None) -> Array:
    """The allowed row that ends last (of those the latest written), if any."""
    rows = np.arange(partition.rows) if allowed is None else np.flatnonzero(allowed)
    return rows[np.lexsort((rows, partition.columns["end_ns"][rows]))][-1:]


def _plain_hits(
    reading: Reading,
    view: View,
    partition: PartitionView,
    question: Question,
    size: AnswerSize,
    damaged: list[Gap],
    rows: Array,
    scores: Array,
    standing: Mapping[int, float],
) -> list[Hit]:
    """Hits of rows in their order, with the scores that they have."""
    hits: list[Hit] = []
    column = partition.columns
    # Lists at once: to take numbers out of arrays one by one is half of what a hit costs.
    listed = rows.tolist(), column["clip_no"][rows].tolist(), column["birth"][rows].tolist()
    for row, clip_no, birth, score in zip(*listed, scores.tolist(), strict=True):
        clip = _version(reading, view, partition, row, clip_no, birth, question, damaged)
        if clip is not None:
            hits.append(Hit(size.add(clip), score, standing.get(row)))
    return hits


def _load(
    reading: Reading,
    view: View,
    partition: PartitionView,
    row: int,
    question: Question,
    damaged: list[Gap],
) -> StoredClip | None:
    """The clip of a row, as `_version` gives it."""
    column = partition.columns
    clip_no, birth = int(column["clip_no"][row]), int(column["birth"][row])
    return _version(reading, view, partition, row, clip_no, birth, question, damaged)


def _version(
    reading: Reading,
    view: View,
    partition: PartitionView,
    row: int,
    clip_no: int,
    birth: int,
    question: Question,
    damaged: list[Gap],
) -> StoredClip | None:
    """A version of a clip, that of a row; None, and one more gap, where it cannot be read whole: the other hits
    are an answer all the same.
    """
    deadline.check()
    try:
        return view.load_clip(reading, clip_no, birth, question.parts)
    except DataLoss as error:
        damaged.append(view.note_damage(partition, row, error))
        return None


def _reranked(
    reading: Reading,
    view: View,
    partition: PartitionView,
    question: Question,
    as_of: int | None,
    size: AnswerSize,
    rows: Array,
    scores: Array,
    damaged: list[Gap],
    standing: Mapping[int, float],
    rest: tuple[Array, Array],
    found: Found | None,
    relevance: Relevance | None,
) -> tuple[list[Hit], slice, WithWords | None]:
    """The candidates re-ordered by late interaction, beside the words where there are some, and which of the
    ``rest`` are shown behind them; a clip without short-term memory keeps its own score, without words last.

    relevance: where the order is that of what stands out of its camera.
    """
    assert question.tokens is not None
    interaction = LateInteraction(
        reading.txn, view, partition, as_of, question.tokens, question.weighting, damaged
    )
    ranked = interaction.rank(rows, question.rerank_work_max, "rerank", question.rerank)
    if relevance is not None:
        ranked = by_standing_out(relevance, interaction, rows, ranked)
    late = None
    if found is not None and question.words is not None:
        late = with_words(found, question.words, ranked)
        ranked = late.ranked
    own = dict(zip(rows.tolist(), scores.tolist(), strict=True))
    here, behind = shown(
        question.window,
        question.limit,
        partition,
        _arrays(ranked),
        rest,
        candidates=question.rerank,
        by_score=not question.rerank and question.words is None,
    )
    hits: list[Hit] = []
    for scored in ranked[here]:
        clip = _load(reading, view, partition, scored.row, question, damaged)
        if clip is not None:
            score = own[scored.row] if scored.score is None else scored.score
            spans, weights = interaction.spans(scored.row), interaction.token_weights(scored.row)
            size.add_numbers(len(weights))
            hits.append(Hit(size.add(clip), score, standing.get(scored.row), spans, weights))
    return hits, behind, late


def _arrays(ranked: Sequence[Scored]) -> tuple[Array, Array]:
    """The rows and scores of what was ranked."""
    return (
        np.fromiter((scored.row for scored in ranked), np.int64, len(ranked)),
        np.fromiter((scored.score or 0.0 for scored in ranked), np.float64, len(ranked)),
    )


def _by_tokens(
    environment: Environment | None,
    view: View,
    partition: PartitionView,
    question: Question,
    as_of: int | None,
    allowed: Array | None,
    streams: Sequence[StreamState],
    gaps: tuple[Gap, ...],
) -> Grounding:
    """The answer to a question that has no feature."""
    assert question.tokens is not None
    if not question.tokens.any():
        raise InvalidArgument(
            "a zero vector has no direction", reason="ZERO_VECTOR", field="question_tokens"
        )
    damaged: list[Gap] = []
    hits: list[Hit] = []
    fallback = "none"
    size = AnswerSize(question.answer_bytes_max)
    with Reading(environment) as reading:
        interaction = LateInteraction(
            reading.txn, view, partition, as_of, question.tokens, question.weighting, damaged
        )
        rows = candidate_rows(partition, question.tokens, allowed, question.rerank)
        ranked = interaction.rank(
            rows, question.rerank_work_max, "question_tokens", question.tokens.shape
        )
        least = -np.inf if question.min_score is None else question.min_score
        ranked = [s for s in ranked if s.score is not None and s.score >= least]
        abstained = not ranked
        if not ranked and question.may_fall_back:
            newest = _newest(partition, allowed)
            ranked = interaction.rank(
                newest, question.rerank_work_max, "question_tokens", question.tokens.shape
            )
            fallback = "recent" if ranked else "none"
        here, _ = shown(question.window, question.limit, partition, _arrays(ranked), _NONE_RANKED)
        for scored in ranked[here]:
            clip = _load(reading, view, partition, scored.row, question, damaged)
            if clip is not None:
                spans = interaction.spans(scored.row)
                weights = interaction.token_weights(scored.row)
                size.add_numbers(len(weights))
                hits.append(Hit(size.add(clip), scored.score or 0.0, None, spans, weights))
    revision = view.revision if as_of is None else as_of
    gaps = _told_once(gaps, damaged)
    covered = _covered(partition, question, allowed, streams, gaps, abstained)
    return Grounding(tuple(hits), revision, fallback, gaps, covered, abstained)
