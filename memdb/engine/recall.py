"""Recall: facts and utterances that answer a question in words."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from memdb import deadline
from memdb.engine.admitted import text_filter
from memdb.engine.checks import no_such_fact, no_such_key, no_text_space
from memdb.engine.fact_page import WHOLE, Page
from memdb.engine.hydrate import AnswerSize, load_clip
from memdb.engine.validity import holds_from
from memdb.engine.view import View
from memdb.errors import DataLoss
from memdb.index.text import Match
from memdb.store import facts, schema
from memdb.store.environment import Environment
from memdb.store.idents import IdKind, parse_id
from memdb.store.schema import Table
from memdb.store.transaction import Transaction
from memdb.types.arrays import Array, check_dim
from memdb.types.clip import StoredClip
from memdb.types.fact import Fact, Recall, RecallHit
from memdb.types.recall_filter import RecallFilter
from memdb.types.validity import holds


def recall(
    environment: Environment,
    view: View,
    question: str,
    feature: Array | None,
    limit: int,
    as_of: int | None,
    which: RecallFilter,
    valid_at_ns: int | None,
    answer_bytes_max: int | None = None,
) -> Recall:
    """Answer on ``view``, or as of an earlier revision.

    valid_at_ns: when facts are to hold, None for any (`memdb.engine.validity`).

    Raises `ResourceExhausted` (``MESSAGE_TOO_LARGE``) above ``answer_bytes_max``.
    """
    revision = view.revision if as_of is None else as_of
    space_no = view.state.counters.text_space_no
    if feature is not None:
        if space_no is None:
            raise no_text_space("feature")
        check_dim(feature, view.state.spaces[space_no].dim, "feature")
        # Of the moment: before there was a text space there is nothing that a feature is compared with.
        space_no = view.text_space_no(as_of)
        feature = None if space_no is None else feature
    admitted = text_filter(view, which, as_of, valid_at_ns)
    if which.facts:
        view.quarantine.check(Table.FACTS)
    matches = view.texts.search(question, feature, space_no, limit, revision, admitted)
    size = AnswerSize(answer_bytes_max)
    hits: list[RecallHit] = []
    # A thousand utterances may be of one clip, with all its keyframes.
    loaded: dict[tuple[int, int], StoredClip] = {}
    with environment.read() as txn:
        for match in matches:
            deadline.check()
            hit = _hit(txn, view, match, revision, loaded)
            if hit is None:
                continue
            if hit.clip is not None:
                size.add(hit.clip)
            if hit.fact is not None:
                size.add_fact(hit.fact)
            hits.append(hit)
    arms = ("lexical",) if feature is None else ("lexical", "semantic")
    return Recall(tuple(hits), revision, arms, valid_at_ns if which.facts else None)


def _hit(
    txn: Transaction,
    view: View,
    match: Match,
    revision: int,
    loaded: dict[tuple[int, int], StoredClip],
) -> RecallHit | None:
    if match.kind == schema.UTTERANCE:
        try:
            clip = loaded.get((match.no, match.birth))
            if clip is None:
                clip = load_clip(txn, view.state, match.no, match.birth)
                loaded[match.no, match.birth] = clip
        except DataLoss as error:
            # Told by the gaps of its stream from now on; the other hits are whole.
            view.note_damaged_version(match.no, match.birth, error)
            return None
        return RecallHit(
            "utterance", match.score, match.arms, utterance=clip.transcript[match.index], clip=clip
        )
    fact = load_fact(txn, view, match.no, match.birth, revision)
    # A fact that was forgotten between the search and here is gone, not an error.
    return None if fact is None else RecallHit("fact", match.score, match.arms, fact=fact)


def load_fact(txn: Transaction, view: View, fact_no: int, birth: int, revision: int) -> Fact | None:
    """One version of a fact, with the commit that had replaced it by ``revision``."""
    record = facts.version(txn, fact_no, birth)
    if record is None:
        return None
    later = facts.birth_after(txn, fact_no, birth)
    superseded = later if later is not None and later <= revision else None
    return facts.as_fact(record, view.state.user, view.state.id_key, fact_no, birth, superseded)


def get_fact(
    txn: Transaction, view: View, fact_id: str | None, key: str | None, revision: int
) -> Fact:
    """The fact with an id, or with a key, as it is at ``revision``; raises `NotFound` (``FACT_NOT_FOUND``)."""
    # A fact keeps its key from its first version to its end, and forgetting it takes both from the past too.
    no = (
        facts.holder(txn, key)
        if key is not None
        else parse_id(view.state.id_key, IdKind.FACT, fact_id or "")
    )
    entry = None if no is None else facts.at(txn, no, revision)
    fact = None if no is None or entry is None else load_fact(txn, view, no, entry[0], revision)
    if fact is None:
        raise no_such_fact(fact_id or "") if key is None else no_such_key(key)
    return fact


def history(
    txn: Transaction,
    view: View,
    fact_no: int,
    answer_bytes_max: int | None = None,
    page: Page = WHOLE,
) -> list[Fact]:
    """Versions of a fact that the view knows, oldest first, those of a page; raises as `recall`.

    The page begins after a birth.
    """
    filled = page.filled(AnswerSize(answer_bytes_max))
    found = filled.facts
    for birth, record in facts.versions(txn, fact_no, page.after):
        if birth > view.revision:
            break
        if found:
            found[-1] = replace(found[-1], superseded_revision=birth)
        if filled.is_full:
            break
        filled.add(facts.as_fact(record, view.state.user, view.state.id_key, fact_no, birth, None))
    return found


def current_facts(
    txn: Transaction,
    view: View,
    about: tuple[str, ...] | None,
    revision: int,
    answer_bytes_max: int | None = None,
    page: Page = WHOLE,
    valid_at_ns: int | None = None,
) -> list[Fact]:
    """Facts current at ``revision``, in the order they were first written, those of a page; raises as
    `recall`.

    The page begins after the number of a fact.  about: only facts about one of these.  valid_at_ns: only facts
    that hold then.
    """
    filled = page.filled(AnswerSize(answer_bytes_max))
    first = 0 if page.after is None else page.after + 1
    for fact_no in _candidates(view, first, about, revision):
        deadline.check()
        entry = facts.at(txn, fact_no, revision)
        if entry is None:
            continue
        record = entry[1]
        if valid_at_ns is not None and not holds(
            holds_from(txn, record, entry[0]), record.valid_to_ns, valid_at_ns
        ):
            continue
        fact = load_fact(txn, view, fact_no, entry[0], revision)
        if fact is not None:
            filled.add(fact)
        if filled.is_full:
            break
    return filled.facts


def _candidates(
    view: View, first: int, about: tuple[str, ...] | None, revision: int
) -> Iterable[int]:
    """Numbers of the facts, from ``first`` on, ascending, that may be current at ``revision``; of those about some
    things, no other is read.
    """
    if about is None:
        return range(first, view.state.counters.next_fact_no)
    texts, rows = view.texts.columns, view.texts.about(about)
    born = texts["birth"][rows] <= np.uint64(revision)
    alive = rows[born & (texts["death"][rows] > np.uint64(revision))]
    numbers: list[int] = np.unique(texts["no"][alive]).tolist()
    return numbers[bisect_left(numbers, first) :]
