"""What tells a commit of a user from any other: xxh3_64 of its record in the log.

The record has the time of the commit, so another life of the same user, from whatever moment on, has others.
"""

from __future__ import annotations

import xxhash

from memdb.store import schema
from memdb.store.schema import Table
from memdb.store.transaction import Transaction


def log_content_in(txn: Transaction, revision: int) -> int | None:
    """Of the commit that made a revision; None where the log has no record of it."""
    stored = txn.get(Table.LOG, schema.revision_key(revision))
    return None if stored is None else xxhash.xxh3_64_intdigest(stored)
