"""One user behind an address, as each part of a handle on it knows it."""

from __future__ import annotations

from memdb.types.handle import Handle
from memdb.types.ids import check_id
from memdb.types.space import Space
from memdb_client._async_rpc import AsyncRpc


class AsyncOneUser(Handle):
    """What the parts of a handle share: whose they are, and the calls."""

    def __init__(self, rpc: AsyncRpc, user_id: str) -> None:
        self._rpc = rpc
        self._id = check_id(user_id, "user")
        self._text_space: Space | None = None
