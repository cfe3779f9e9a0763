"""What a handle on a user does with values."""

from __future__ import annotations

from typing import Any, Protocol

from memdb.types.grounding import AsOf


class UserValues(Protocol):
    """JSON values of a user, by key."""

    def put(self, key: str, value: Any) -> int:
        """Store a JSON value under ``key``; returns the revision.  Creates the user.

        key: at most 256 bytes of UTF-8.  value: what `json` writes, at most 1 MiB of text.

        Raises `InvalidArgument` (``BAD_VALUE``, ``TOO_LARGE``).
        """
        ...

    def get(self, key: str, default: Any = None, *, as_of: AsOf | None = None) -> Any:
        """The value under ``key``, ``default`` where there is none.  Raises of ``as_of`` as `ground`."""
        ...

    def remove(self, key: str) -> int:
        """Remove the value under ``key`` with every version of it, from the past too; returns the revision.

        The key itself stays in the change feed (`Change.key`).  Of the value no call, export or later archive
        has anything any more; pages of the file that it freed may hold it until they are written over: `compact`
        makes an end of them.

        Raises `NotFound` (``VALUE_NOT_FOUND``, ``USER_NOT_FOUND``).
        """
        ...

    def keys(
        self,
        prefix: str = "",
        *,
        limit: int = 1000,
        after: str | None = None,
        as_of: AsOf | None = None,
    ) -> list[str]:
        """Keys that have a value, sorted by code points.  Each call looks at all keys, be there one version or a
        million of each, and checks the values of those that it tells.

        prefix: only those that begin with it.  limit: 1 to 1,000.  after: only those behind this one, the last of
        the page before, which need not be there any more.

        Raises of ``as_of`` as `ground`.
        """
        ...
