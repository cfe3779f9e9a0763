"""Values: the keys that have one."""

from __future__ import annotations

from memdb.types.arguments import checked_key, checked_prefix
from memdb.types.checks import check_int
from memdb.types.grounding import AsOf
from memdb.types.limits import LIMIT_MAX
from memdb.v1 import memory_service_pb2 as memory_pb
from memdb.wire.moments import as_of_to_proto


def list_keys_request(
    user: str,
    prefix: str = "",
    *,
    limit: int = LIMIT_MAX,
    after: str | None = None,
    as_of: AsOf | None = None,
) -> memory_pb.ListKeysRequest:
    """The request for `User.keys`; raises `InvalidArgument` as the call would."""
    return memory_pb.ListKeysRequest(
        user=user,
        prefix=checked_prefix(prefix),
        limit=check_int(limit, "limit", 1, LIMIT_MAX),
        after=None if after is None else checked_key(after, "after"),
        as_of=as_of_to_proto(as_of),
    )
