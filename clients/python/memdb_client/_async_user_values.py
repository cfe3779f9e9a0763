"""`memdb.types.database.user_values.UserValues` behind an address."""

from __future__ import annotations

from typing import Any

from memdb.types.arguments import checked_key
from memdb.types.grounding import AsOf
from memdb.types.json_value import value_from_json, value_to_json
from memdb.v1 import memory_service_pb2 as memory_pb
from memdb.wire.moments import as_of_to_proto
from memdb.wire.values import list_keys_request
from memdb_client._async_one_user import AsyncOneUser
from memdb_client._options import Repeat


class AsyncUserValues(AsyncOneUser):
    """The user's values."""

    async def put(self, key: str, value: Any) -> int:
        """Store a JSON value under ``key``; returns the revision."""
        answer = await self._rpc.call(
            self._rpc.memories.PutValue,
            memory_pb.PutValueRequest(
                user=self._id, key=checked_key(key), json=value_to_json(value)
            ),
            repeat=Repeat.UNSENT,
        )
        return answer.revision

    async def get(self, key: str, default: Any = None, *, as_of: AsOf | None = None) -> Any:
        """The value under ``key``, ``default`` when there is none."""
        answer = await self._rpc.call(
            self._rpc.memories.GetValue,
            memory_pb.GetValueRequest(
                user=self._id,
                key=checked_key(key),
                as_of=as_of_to_proto(as_of),
            ),
        )
        return value_from_json(answer.json) if answer.HasField("json") else default

    async def remove(self, key: str) -> int:
        """Remove the value under ``key`` with every version of it, from the past too; returns the revision.

        Its bytes go with `compact` at the latest.
        """
        answer = await self._rpc.call(
            self._rpc.memories.RemoveValue,
            memory_pb.RemoveValueRequest(user=self._id, key=checked_key(key)),
            repeat=Repeat.UNSENT,
        )
        return answer.revision

    async def keys(
        self,
        prefix: str = "",
        *,
        limit: int = 1000,
        after: str | None = None,
        as_of: AsOf | None = None,
    ) -> list[str]:
        """Keys that have a value, sorted."""
        request = list_keys_request(self._id, prefix, limit=limit, after=after, as_of=as_of)
        return list((await self._rpc.call(self._rpc.memories.ListKeys, request)).keys)
