"""The moment in the world at which facts are asked to hold, and since when they do."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime

from memdb.engine.moments import commit_time
from memdb.engine.view import View
from memdb.errors import DataLoss
from memdb.store import facts
from memdb.store.environment import Environment
from memdb.store.records import FactRecord
from memdb.store.transaction import Transaction
from memdb.types.grounding import AsOf
from memdb.types.times import as_ns
from memdb.types.validity import ANY, NOW


def valid_moment(
    environment: Environment,
    view: View,
    valid_at: int | str | None,
    as_of: AsOf | None,
    revision: int | None,
    now_ns: int,
) -> int | None:
    """UTC nanoseconds, None for any; ``valid_at`` from `memdb.types.validity.checked_valid_at`.

    What is asked as of a moment is about that moment, so that its answer stays the same: a time is itself, a
    revision (and a snapshot, which names one) when it was committed.  revision: what ``as_of`` names on the
    view.  Raises `DataLoss` where the commit's log record is damaged.
    """
    if valid_at == ANY:
        return None
    if isinstance(valid_at, int):
        return valid_at
    newest_ns = view.state.counters.time_ns
    if valid_at == NOW or as_of is None:
        # Never before the newest commit, or a clock that was set back would hide what was just written.
        return max(now_ns, newest_ns)
    if isinstance(as_of, datetime):
        return as_ns(as_of, "as_of")
    if revision is None or revision == view.revision:
        return newest_ns
    if revision == 0:
        return 0  # before the first commit there is no fact
    with environment.read() as txn:
        return commit_time(txn, revision)


def holds_from(txn: Transaction, record: FactRecord, birth: int) -> int:
    """Since when a version of a fact holds, as `memdb.store.facts.holds_from`."""
    if record.valid_from_ns != record.written_ns:
        return record.valid_from_ns  # the rule: what this release writes needs no look at the log
    # Where the commit's time is damaged nothing is told as of it either.
    with suppress(DataLoss):
        return facts.holds_from(record, commit_time(txn, birth))
    return record.valid_from_ns
