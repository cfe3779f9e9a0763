"""Erasing a user: its directory goes, and with it every byte that memdb wrote for it.

The order makes a crash harmless: once the directory is out of `users/` the user does not exist; its
bytes go next, at the latest at the next open; the catalog forgets the name last, at the latest when
it is opened again.  Bytes go before the catalog writes anything, so that a full disk can be erased.
"""

from __future__ import annotations

from memdb import failpoints
from memdb.engine.users import Users
from memdb.errors import DataLoss, NotFound
from memdb.store.catalog import Catalog
from memdb.store.directory import DataDirectory
from memdb.store.environment import Transaction
from memdb.store.schema import Table
from memdb.types.change import ErasureReport


def erase_user(
    user: str, users: Users, catalog: Catalog, directory: DataDirectory
) -> ErasureReport:
    """Remove ``user``; raises `NotFound` (``USER_NOT_FOUND``)."""
    path = directory.user_path(user)
    counts = _counted(user, users)
    with users.exclusively(user):
        if not path.exists():
            raise NotFound("no such user", reason="USER_NOT_FOUND", field="user", value=user)
        size = sum(entry.stat().st_size for entry in path.iterdir())
        failpoints.hit("erase.before_discard")
        discarded = directory.discard(path)
        failpoints.hit("erase.after_discard")
        directory.remove(discarded)
        failpoints.hit("erase.after_remove")
        catalog.remove_user(user)
    return ErasureReport(user, *counts, size)


def _counted(user: str, users: Users) -> tuple[int, int, int]:
    """(clips, facts, values) of the user; zeros when it is too damaged to be read."""
    try:
        with users.use(user) as memory, memory.environment.read() as txn:
            return (
                txn.count(Table.LEDGER),
                _distinct(txn, Table.FACTS),
                _distinct(txn, Table.VALUES),
            )
    except DataLoss:
        return 0, 0, 0


def _distinct(txn: Transaction, table: Table) -> int:
    """Things in a table of versions."""
    return len({key[:-8] for key, _ in txn.scan(table)})
