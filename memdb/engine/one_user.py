"""One user, as each part of a handle on it knows it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TypeVar

from memdb.clock import Clock
from memdb.engine.memory import UserMemory
from memdb.engine.shared_ingest import SharedIngests
from memdb.engine.users import Users
from memdb.errors import MemdbError
from memdb.store.catalog import Catalog
from memdb.store.schema import Table
from memdb.types.change import ErasureReport
from memdb.types.handle import Handle
from memdb.types.ids import check_id
from memdb.types.operation import ForgetFact, Operation, PutFact, PutFacts, RemoveValue, ReviseFact
from memdb.types.space import Space

T = TypeVar("T")


class OneUser(Handle):
    """What the parts of a handle share: whose they are, and the memory, opened when it is needed."""

    def __init__(
        self,
        user_id: str,
        users: Users,
        catalog: Catalog,
        clock: Clock,
        erase: Callable[[str], ErasureReport],
        *,
        embed_texts: bool,
    ) -> None:
        self._id = check_id(user_id, "user")
        self._users = users
        self._catalog = catalog
        self._clock = clock
        self._erase = erase
        self._embed_texts = embed_texts

    @property
    def seq_ahead_max(self) -> int:
        """`EngineConfig.seq_ahead_max`."""
        return self._users.seq_ahead_max

    @property
    def shared_ingests(self) -> SharedIngests:
        """Of all users."""
        return self._users.shared_ingests

    def is_known(self) -> bool:
        """Whether there is such a user yet."""
        return self._catalog.has_user(self._id)

    def memory(self, *, create: bool = False) -> AbstractContextManager[UserMemory]:
        """The open memory for the length of a block."""
        return self._users.use(self._id, create=create)

    def with_memory(self, work: Callable[[UserMemory], T], *, create: bool = False) -> T:
        """What ``work`` makes of the open memory, with less ado than `memory`."""
        return self._users.call(self._id, work, create=create)

    def commit(self, operation: Operation, gives: type[T], *, create: bool = False) -> T:
        """Commit one operation; its outcome, which is of the kind it ``gives``, or raises its error."""
        with self._users.use(self._id, create=create) as memory:
            match operation:
                case PutFact() | PutFacts() | ReviseFact() | ForgetFact():
                    memory.view.quarantine.check(Table.FACTS, Table.FACT_KEYS)
                case RemoveValue():
                    # One whose key is damaged would stay.
                    memory.view.quarantine.check(Table.VALUES)
            (outcome,) = memory.write([operation])
        if isinstance(outcome, MemdbError):
            raise outcome
        assert isinstance(outcome, gives), "an operation has one kind of outcome"
        return outcome

    def catalog_space(self, name: str) -> Space:
        """The database's space of that name; raises `NotFound`."""
        return self._catalog.space(check_id(name, "space"))

    def find_space(self, name: str | None) -> Space | None:
        """The database's space of that name, None without a name, and where there is none."""
        return None if name is None else self._catalog.find_space(name)
