"""Recall: facts and utterances that answer a question in words."""

from __future__ import annotations

from memdb.engine.hydrate import load_clip
from memdb.engine.view import View
from memdb.errors import DataLoss, FailedPrecondition
from memdb.index.text import Match
from memdb.store import facts, schema
from memdb.store.environment import Environment, Transaction
from memdb.store.schema import Table
from memdb.types.arrays import Array, check_dim
from memdb.types.fact import Fact, Recall, RecallHit


def recall(
    environment: Environment,
    view: View,
    question: str,
    feature: Array | None,
    limit: int,
    as_of: int | None,
) -> Recall:
    """Answer on ``view``, or as of an earlier revision."""
    revision = view.revision if as_of is None else as_of
    space_no = view.state.counters.text_space_no
    if feature is not None:
        if space_no is None:
            raise FailedPrecondition(
                "the user has no text space", reason="NO_TEXT_SPACE", field="feature"
            )
        check_dim(feature, view.state.spaces[space_no].dim, "feature")
    view.quarantine.check(Table.FACTS)
    matches = view.texts.search(question, feature, space_no, limit, revision)
    with environment.read() as txn:
        hits = tuple(
            hit for match in matches if (hit := _hit(txn, view, match, revision)) is not None
        )
    return Recall(hits, revision, ("lexical",) if feature is None else ("lexical", "semantic"))


def _hit(txn: Transaction, view: View, match: Match, revision: int) -> RecallHit | None:
    if match.kind == schema.UTTERANCE:
        try:
            clip = load_clip(txn, view.state, match.no, match.birth)
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
    known = facts.versions(txn, fact_no)
    for index, (version, record) in enumerate(known):
        if version == birth:
            later = known[index + 1][0] if index + 1 < len(known) else None
            superseded = later if later is not None and later <= revision else None
            return facts.as_fact(
                record, view.state.user, view.state.id_key, fact_no, birth, superseded
            )
    return None


def history(txn: Transaction, view: View, fact_no: int) -> list[Fact]:
    """Every version of a fact that the view knows, oldest first."""
    known = [entry for entry in facts.versions(txn, fact_no) if entry[0] <= view.revision]
    return [
        facts.as_fact(
            record,
            view.state.user,
            view.state.id_key,
            fact_no,
            birth,
            known[index + 1][0] if index + 1 < len(known) else None,
        )
        for index, (birth, record) in enumerate(known)
    ]


def current_facts(
    txn: Transaction, view: View, about: str | None, revision: int, limit: int
) -> list[Fact]:
    """Facts current at ``revision``, in the order they were first written."""
    found: list[Fact] = []
    for fact_no in range(view.state.counters.next_fact_no):
        entry = facts.at(txn, fact_no, revision)
        if entry is None or (about is not None and about not in entry[1].about):
            continue
        fact = load_fact(txn, view, fact_no, entry[0], revision)
        if fact is not None:
            found.append(fact)
        if len(found) == limit:
            break
    return found
