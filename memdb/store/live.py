"""What of a data file is in use: a page that was freed stays in it, and goes when it is made anew."""

from __future__ import annotations

from collections.abc import Iterable

import lmdb

_META_PAGES = 2


def live_bytes(txn: lmdb.Transaction, tables: Iterable[lmdb._Database]) -> int:
    """Bytes of the pages of some tables, as a transaction sees them, and of those that name them."""
    pages, page_bytes = _META_PAGES, 4096
    for stat in (txn.stat(table) for table in tables):
        page_bytes = stat["psize"]
        # The page that names the tables has one entry of each; it is counted with them.
        pages += 1 + stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
    return pages * page_bytes
