"""Erasing a user: its directory goes, and with it every byte that memdb wrote for it.

The order makes a crash harmless: once the directory is out of `users/` the user does not exist; the
catalog forgets the name next, at the latest when it is opened again; the bytes go last, at the
latest at the next open.
"""

from __future__ import annotations

from memdb import failpoints
from memdb.engine.users import Users
from memdb.errors import NotFound
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
    if not path.exists():
        raise NotFound("no such user", reason="USER_NOT_FOUND", field="user", value=user)
    with users.use(user) as memory, memory.environment.read() as txn:
        clips, facts, values = (
            txn.count(Table.LEDGER),
            _distinct(txn, Table.FACTS),
            _distinct(txn, Table.VALUES),
        )
    with users.exclusively(user):
        size = sum(entry.stat().st_size for entry in path.iterdir())
        failpoints.hit("erase.before_discard")
        directory.discard(path)
        failpoints.hit("erase.after_discard")
        catalog.remove_user(user)
        failpoints.hit("erase.after_catalog")
        directory.empty_trash()
    return ErasureReport(user, clips, facts, values, size)


def _distinct(txn: Transaction, table: Table) -> int:
    """Things in a table of versions."""
    return len({key[:-8] for key, _ in txn.scan(table)})
