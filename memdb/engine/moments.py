"""Past moments: which revision an `as_of` names."""

from __future__ import annotations

from bisect import bisect_right
from datetime import datetime

from memdb.engine.snapshots import check_snapshot, is_kept, snapshot_revision
from memdb.engine.view import View
from memdb.errors import DataLoss, FailedPrecondition, NotFound, Unavailable
from memdb.store import schema
from memdb.store.environment import Environment
from memdb.store.records import LogRecord, unpack
from memdb.store.schema import Table
from memdb.store.transaction import Transaction
from memdb.types.arguments import checked_as_of, checked_revision
from memdb.types.grounding import AsOf
from memdb.types.snapshot import Snapshot
from memdb.types.times import as_ns


def resolve(
    environment: Environment,
    view: View,
    as_of: AsOf | None,
    min_revision: int | None = None,
    *,
    now_ns: int,
) -> int | None:
    """The revision that ``as_of`` names; None for the view's own.

    A revision that is not reached yet is refused: an answer as of it could still change.  Raises
    `NotFound` (``REVISION_NOT_FOUND``, ``SNAPSHOT_NOT_FOUND``), `FailedPrecondition` (``SNAPSHOT_EXPIRED``,
    ``HISTORY_COLLECTED``, ``CLOCK_AHEAD``), `InvalidArgument`, and
    `Unavailable` (``BEHIND``) when ``min_revision`` is not reached.
    """
    wanted = checked_revision(min_revision)
    if wanted is not None and wanted > view.revision:
        raise Unavailable(
            f"at revision {view.revision}",
            reason="BEHIND",
            field="min_revision",
            value=min_revision,
        )
    moment = checked_as_of(as_of)
    if moment is None:
        return None
    if isinstance(moment, str):
        view.quarantine.check(Table.SNAPSHOTS)
        with environment.read() as txn:
            revision = snapshot_revision(txn, moment, now_ns)
    elif isinstance(moment, Snapshot):
        view.quarantine.check(Table.SNAPSHOTS)
        with environment.read() as txn:
            revision = check_snapshot(txn, view.state.user, moment, now_ns)
    elif isinstance(moment, datetime):
        time_ns = as_ns(moment, "as_of")
        if time_ns > view.state.counters.time_ns and time_ns >= now_ns - now_ns % 1000:
            raise NotFound(
                "that moment has not come: a later commit could still belong to it",
                reason="REVISION_NOT_FOUND",
                field="as_of",
                value=moment.isoformat(),
            )
        revision = revision_at(environment, view, time_ns)
        if revision < view.revision and time_ns <= now_ns:
            _check_stamps(environment, revision, time_ns, now_ns, moment)
    else:
        revision = moment
    if revision > view.revision:
        raise NotFound(
            f"revisions are 0 to {view.revision}; a time is given as an aware datetime",
            reason="REVISION_NOT_FOUND",
            field="as_of",
            value=revision,
        )
    if not isinstance(moment, str):
        _check_told(environment, view, revision)
    return revision if revision < view.revision else None


def _check_told(environment: Environment, view: View, revision: int) -> None:
    """Refuse a moment of which a version has been collected; snapshots keep theirs."""
    spans = view.state.collected
    place = bisect_right(spans, (revision, 2**64)) - 1
    if place >= 0 and spans[place][0] <= revision < spans[place][1]:
        with environment.read() as txn:
            if is_kept(txn, revision):
                return
        raise FailedPrecondition(
            "versions of that moment have been collected",
            reason="HISTORY_COLLECTED",
            field="as_of",
            value=revision,
        )


def _check_stamps(
    environment: Environment, revision: int, time_ns: int, now_ns: int, moment: datetime
) -> None:
    """Refuse a past moment where the commit after it is stamped later than now: the wall clock was
    ahead when that was made, and when it was made nobody knows.
    """
    with environment.read() as txn:
        if commit_time(txn, revision + 1) <= now_ns:
            return
        if revision and commit_time(txn, revision) == time_ns:
            return  # the very moment of a commit
    raise FailedPrecondition(
        "later commits are stamped with times that have not come: which of them there were at that "
        "moment cannot be told; name a revision or a snapshot",
        reason="CLOCK_AHEAD",
        field="as_of",
        value=moment.isoformat(),
    )


def revision_at(environment: Environment, view: View, time_ns: int) -> int:
    """The newest revision committed at or before ``time_ns``: a binary search, since commit times
    never go back.
    """
    with environment.read() as txn:
        low, high = 0, view.revision
        while low < high:
            middle = (low + high + 1) // 2
            if commit_time(txn, middle) <= time_ns:
                low = middle
            else:
                high = middle - 1
    return low


def commit_time(txn: Transaction, revision: int) -> int:
    """When a commit was made; raises `DataLoss`."""
    key = schema.revision_key(revision)
    stored = txn.get(Table.LOG, key)
    if stored is None:
        raise DataLoss("a log record is missing", reason="MISSING", field=f"log/{revision}")
    return unpack(Table.LOG, key, stored, LogRecord).time_ns
