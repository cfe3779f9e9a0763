"""`memdb.types.database.user_values.UserValues` of an embedded user."""

from __future__ import annotations

import json
from typing import Any

from memdb.engine.one_user import OneUser
from memdb.engine.values import value_json, value_keys
from memdb.store.schema import Table
from memdb.types import limits
from memdb.types.arguments import checked_as_of, checked_key, checked_prefix
from memdb.types.checks import check_int
from memdb.types.database.user_values import UserValues
from memdb.types.documented import documented_by
from memdb.types.grounding import AsOf
from memdb.types.json_value import value_to_json
from memdb.types.operation import PutValue, RemoveValue


@documented_by(UserValues)
class EmbeddedUserValues(OneUser):
    """The user's values."""

    def put(self, key: str, value: Any) -> int:
        return self.commit(PutValue(checked_key(key), value_to_json(value)), int, create=True)

    def get(self, key: str, default: Any = None, *, as_of: AsOf | None = None) -> Any:
        text = self.get_json(key, as_of=as_of)
        return default if text is None else json.loads(text)

    def get_json(self, key: str, *, as_of: AsOf | None = None) -> str | None:
        """The value as JSON text, None when there is none."""
        checked_key(key)
        as_of = checked_as_of(as_of)
        with self._users.use(self._id) as memory:
            view = memory.view
            view.quarantine.check(Table.VALUES)
            revision = memory.resolve(view, as_of)
            with memory.environment.read() as txn:
                return value_json(txn, key, view.revision if revision is None else revision)

    def remove(self, key: str) -> int:
        return self.commit(RemoveValue(checked_key(key)), int)

    def keys(
        self,
        prefix: str = "",
        *,
        limit: int = 1000,
        after: str | None = None,
        as_of: AsOf | None = None,
    ) -> list[str]:
        prefix = checked_prefix(prefix)
        limit = check_int(limit, "limit", 1, limits.LIMIT_MAX)
        after = None if after is None else checked_key(after, "after")
        as_of = checked_as_of(as_of)
        with self._users.use(self._id) as memory:
            view = memory.view
            view.quarantine.check(Table.VALUES)
            revision = memory.resolve(view, as_of)
            with memory.environment.read() as txn:
                now = view.revision if revision is None else revision
                return value_keys(txn, prefix, after, limit, now)
