"""Verification: every stored value is whole, the tables agree, and the running indexes equal what a
rebuild from the store gives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from memdb import deadline
from memdb.engine.long_term import summed_buckets
from memdb.engine.memory import UserMemory
from memdb.engine.quarantine import NOTHING_DAMAGED, Quarantine, inspect
from memdb.engine.rebuild import load_partitions, load_state
from memdb.engine.text_rows import load_texts
from memdb.engine.view import View
from memdb.errors import MemdbError
from memdb.index.columns import ALIVE
from memdb.index.partition import PartitionView
from memdb.index.text import TextView
from memdb.store.schema import META_ERASURE, UTTERANCE, Table
from memdb.store.transaction import Transaction
from memdb.store.verify import check_tables
from memdb.types.arrays import Array
from memdb.types.change import Discrepancy
from memdb.types.stream import Gap


def verify_user(memory: UserMemory) -> tuple[int, int, list[Discrepancy]]:
    """(clips, values checked, discrepancies) of one open user; writes go on.

    The tables are looked at in one read transaction.  Against them what runs is compared, which a
    commit that is not shown yet may make look wrong: a difference is looked for once more with
    commits held back, and only then told.

    Raises `DeadlineExceeded` when nobody waits any more.
    """
    view = memory.view
    user = view.state.user
    with memory.environment.read() as txn:
        report = check_tables(txn, user)
        is_whole = not report.discrepancies
        deadline.check()
        if next(_differences(txn, view, is_whole=is_whole), None) is None:
            return report.clips, report.values, list(report.discrepancies)
    deadline.check()
    with memory.held_back(), memory.environment.read() as txn:
        found = _differences(txn, memory.view, is_whole=is_whole)
        found_now = [Discrepancy(user, *what) for what in found]
    return report.clips, report.values, [*report.discrepancies, *found_now]


@dataclass(frozen=True, slots=True)
class _Aside:
    """What is damaged, of which there is nothing to compare."""

    clip_nos: Array
    """(n,) i64: clips with a damaged version."""
    facts: bool
    """Whether some fact is damaged."""

    @property
    def is_empty(self) -> bool:
        return len(self.clip_nos) == 0 and not self.facts

    def among(self, columns: dict[str, Array]) -> Array:
        """Which of the rows are of damaged clips."""
        return np.isin(columns["clip_no"], self.clip_nos)


def _set_aside(*damage: Quarantine) -> _Aside:
    numbers = {clip_no for known in damage for clip_no, _ in known.versions}
    return _Aside(
        np.array(sorted(numbers), np.int64), any(Table.FACTS in known.suspect for known in damage)
    )


def _differences(txn: Transaction, view: View, *, is_whole: bool) -> Iterator[tuple[str, str]]:
    """(where, what) the running memory differs from one made of the store.

    The store may be commits ahead of the view, so rows are compared as they were at its revision.
    Of a store that is not whole what is damaged is left out of both, and so is what sums up all clips.
    """
    try:
        damage = NOTHING_DAMAGED if is_whole else inspect(txn)
        aside = _set_aside(damage, view.quarantine)
        state = load_state(txn, view.state.user)
        rebuilt, coverage = load_partitions(txn, state, damage)
        texts = load_texts(txn, rebuilt, damage).view()
    except MemdbError as error:
        yield "index", f"cannot be rebuilt: {error}"
        return
    for space_no in sorted(set(rebuilt) | set(view.partitions)):
        expected = rebuilt[space_no].view() if space_no in rebuilt else None
        where = f"index of space {space_no}"
        deadline.check()
        yield from ((where, what) for what in _partition(view, space_no, expected, aside))
        if not aside.is_empty:
            continue
        if expected is not None and state.revision == view.revision:
            yield from (("pyramid", what) for what in _pyramid(view, space_no, expected))
    yield from (("texts", what) for what in _texts(view.texts, texts, view.revision, aside))
    if not aside.is_empty:
        return
    names = view.state.stream_names
    gaps, stored = (one.gaps(names, view.revision) for one in (view.coverage, coverage))
    if txn.holds(Table.META, META_ERASURE):
        # The store has forgotten the times of clips that are being erased; memory will, once it is opened
        # anew after the compaction.
        gaps, stored = _timeless(gaps), _timeless(stored)
    if gaps != stored:
        yield "coverage", "gaps differ from the store"


def _timeless(gaps: list[Gap]) -> list[Gap]:
    return [replace(gap, start_ns=None, end_ns=None) for gap in gaps]


def _at(columns: dict[str, Array], name: str, born: Array, revision: int) -> Array:
    """A column of the rows born by ``revision``, with deaths after it undone."""
    column = columns[name][born]
    if name == "death":
        column = np.where(column > np.uint64(revision), ALIVE, column)
    return np.asarray(column)


def _born(columns: dict[str, Array], revision: int) -> Array:
    return np.asarray(columns["birth"] <= np.uint64(revision))


def _labelled(partition: PartitionView, which: Array) -> dict[tuple[str, str], list[int]]:
    """Which of the chosen rows, counted by themselves, have which label."""
    places = np.cumsum(which) - 1
    return {
        pair: places[chosen].tolist()
        for pair, rows in partition.names.labelled.rows(partition.rows).items()
        for chosen in (rows[which[rows]],)
        if len(chosen)
    }


def _partition(
    view: View, space_no: int, expected: PartitionView | None, aside: _Aside
) -> Iterator[str]:
    running = view.partitions.get(space_no)
    everything = np.ones(0, bool) if running is None else _born(running.columns, ALIVE - 1)
    if running is not None:
        everything &= ~aside.among(running.columns)
    rows = int(np.count_nonzero(everything))
    if expected is None:
        if rows:  # all that was in it may have been removed
            yield "is in the index and not in the store"
        return
    born = _born(expected.columns, view.revision) & ~aside.among(expected.columns)
    if rows != int(np.count_nonzero(born)):
        yield f"has {rows} rows, the store {int(np.count_nonzero(born))}"
        return
    if running is None:
        return
    for name in ("events", "labels"):
        mine = getattr(running.names, name).known(running.rows)[1][everything]
        stored = getattr(expected.names, name).known(expected.rows)[1][born]
        if not np.array_equal(mine, stored):
            yield f"words of {name} differ from the store"
    if _labelled(running, everything) != _labelled(expected, born):
        yield "labels differ from the store"
    for name in running.columns:
        mine = _at(running.columns, name, everything, view.revision)
        if not np.array_equal(mine, _at(expected.columns, name, born, view.revision)):
            yield f"column {name} differs from the store"
    alive = _at(running.columns, "death", everything, view.revision) == ALIVE
    head = running.head_alive
    if not np.array_equal(alive if head is None else head[everything], alive):
        yield "current versions differ from the store"
    if running.head_alive is None and not alive.all():
        yield "superseded versions are taken for current"
    if not np.array_equal(
        running.matrix.take(np.flatnonzero(everything)), expected.matrix.take(np.flatnonzero(born))
    ):
        yield "vectors differ from the store"


def _texts(running: TextView, expected: TextView, revision: int, aside: _Aside) -> Iterator[str]:
    def documents(texts: TextView) -> list[tuple[int, ...]]:
        born = _born(texts.columns, revision)
        is_clip = texts.columns["kind"] == UTTERANCE
        born &= ~(is_clip & np.isin(texts.columns["no"], aside.clip_nos))
        born &= is_clip | (not aside.facts)
        names = ("kind", "no", "index", "birth", "death", "start_ns", "end_ns", "stream_no")
        columns = [_at(texts.columns, name, born, revision).tolist() for name in names]
        columns.append(texts.words.known(texts.documents)[1][born].tolist())
        return sorted(zip(*columns, strict=True))

    def about(texts: TextView) -> dict[str, list[tuple[int, int]]]:
        born = _born(texts.columns, revision)
        pairs = zip(texts.columns["no"].tolist(), texts.columns["birth"].tolist(), strict=True)
        facts = dict(enumerate(pairs))
        told = {
            thing: sorted(facts[row] for row in rows if born[row])
            for thing, rows in texts.things.known(texts.documents).items()
        }
        return {thing: facts for thing, facts in told.items() if facts}

    if documents(running) != documents(expected):
        yield "utterances or facts differ from the store"
    elif not aside.facts and about(running) != about(expected):
        yield "what facts are about differs from the store"


def _pyramid(view: View, space_no: int, expected: PartitionView) -> Iterator[str]:
    running = view.partitions.get(space_no)
    if running is None:
        return
    wanted = {s.no for s in view.state.streams.values() if s.space_no == space_no}
    found = view.pyramid.buckets(space_no, running, view.revision, wanted, list)
    if found is None:
        return  # others ask about a later revision, which is not what was rebuilt
    summed = summed_buckets(expected, wanted, view.revision)
    if found.keys() != summed.keys():
        yield "hours or days differ from the clips"
        return
    for key, bucket in found.items():
        same = np.array_equal(bucket.total, summed[key].total)
        if bucket.clips != summed[key].clips or not same:
            yield f"bucket {key} is not the sum of its clips"
