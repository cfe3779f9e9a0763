# Generated from _async_one_user.py by clients/python/tools/unasync.py: do not edit.
# ruff: noqa: C416, RUF100, UP028 - written as asyncio needs it
"""One user behind an address, as each part of a handle on it knows it."""

from __future__ import annotations

from memdb.types.handle import Handle
from memdb.types.ids import check_id
from memdb.types.space import Space
from memdb_client._rpc import Rpc


class OneUser(Handle):
    """What the parts of a handle share: whose they are, and the calls."""

    def __init__(self, rpc: Rpc, user_id: str) -> None:
        self._rpc = rpc
        self._id = check_id(user_id, "user")
        self._text_space: Space | None = None
