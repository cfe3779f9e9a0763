"""Verification: every stored value is whole, the tables agree, and the running indexes equal the
store.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from memdb.engine.rebuild import load_partitions, load_state
from memdb.engine.view import View
from memdb.errors import MemdbError
from memdb.store.environment import Environment, Transaction
from memdb.store.verify import check_tables
from memdb.types.change import Discrepancy


def verify_user(environment: Environment, view: View) -> tuple[int, int, list[Discrepancy]]:
    """(clips, values checked, discrepancies) of one open user, as of one read transaction."""
    user = view.state.user
    with environment.read() as txn:
        report = check_tables(txn, user)
        found = list(report.discrepancies)
        if not found:
            found.extend(_index_differences(txn, view))
    return report.clips, report.values, found


def _index_differences(txn: Transaction, view: View) -> Iterator[Discrepancy]:
    """Where the running partitions differ from partitions rebuilt from the store."""
    user = view.state.user
    try:
        rebuilt, _ = load_partitions(txn, load_state(txn, user))
    except MemdbError as error:
        yield Discrepancy(user, "index", f"cannot be rebuilt: {error}")
        return
    for space_no in sorted(set(rebuilt) | set(view.partitions)):
        where = f"index of space {space_no}"
        running = view.partitions.get(space_no)
        expected = rebuilt[space_no].view() if space_no in rebuilt else None
        if running is None or expected is None:
            if (running or expected) is not None and txn_is_newer(txn, view):
                continue
            yield Discrepancy(user, where, "is in the index or in the store only")
            continue
        # The store may be commits ahead of the view: compare the rows that the view knows.
        born = expected.columns["birth"] <= np.uint64(view.revision)
        if int(np.count_nonzero(born)) != running.rows:
            yield Discrepancy(
                user, where, f"has {running.rows} rows, the store {int(np.count_nonzero(born))}"
            )
            continue
        for name in ("clip_no", "birth", "start_ns", "end_ns", "stream_no", "seq", "sealed"):
            if not np.array_equal(running.columns[name], expected.columns[name][born]):
                yield Discrepancy(user, where, f"column {name} differs from the store")
        rows = np.flatnonzero(born)
        if not np.array_equal(
            running.matrix.take(np.arange(running.rows)), expected.matrix.take(rows)
        ):
            yield Discrepancy(user, where, "vectors differ from the store")


def txn_is_newer(txn: Transaction, view: View) -> bool:
    """Whether the transaction sees commits that the view does not."""
    return load_state(txn, view.state.user).revision > view.revision
