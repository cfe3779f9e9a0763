"""The places of users in memory: each opened at most once, used by any number of calls, closed when others need
the room.

Two kinds of locks: one of all places, held for a moment, and one of each, held by whoever opens or closes its user.
The second may be held while the first is taken, never the other way round.
"""

from __future__ import annotations

import os
import resource
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, TypeVar

from memdb.engine.memory import UserMemory
from memdb.engine.reading import WouldWait
from memdb.errors import DataLoss, FailedPrecondition, Unavailable
from memdb.news import News

T = TypeVar("T")

Stamp = tuple[int, ...]
"""Size and time of the files that a user is opened from."""

CALLS_END_S: Final = 5.0
"""How long calls on a user that must be closed may go on; who takes longer is told `REOPENED`."""

FILES_PER_USER: Final = 3
"""Descriptors of an open environment: its data, that again for synced writes, and its lock."""
_FILES_SPARE: Final = 96
"""For connections, libraries, and users that are used while many are open."""


def room() -> int:
    """Users for which the limit on open files leaves room; at least one."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, (soft - _FILES_SPARE) // (FILES_PER_USER + 1))


@dataclass(slots=True)
class Slot:
    """One user: opened at most once, used by any number of calls."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    memory: UserMemory | None = None
    users: int = 0
    """Who works with `memory` now; such a slot is not evicted."""
    calls: int = 0
    """Of those, who will be done soon: what closes the user waits for them."""
    closing: bool = False
    """Whether calls that come now wait until the user is opened anew."""
    erasing: threading.Lock = field(default_factory=threading.Lock)
    """Who erases the user, or of it."""
    listeners: dict[int, Callable[[int], None]] = field(default_factory=dict)
    """Who listens to the user, whichever memory of it is open."""
    failure: tuple[DataLoss, Stamp] | None = None
    """Why the user could not be opened, and the stamp of its files that were so."""

    def close(self) -> None:
        """Close the user, if it is open (under the slot's lock).

        Who is interrupted meanwhile leaves it to whoever comes next: a file is not opened a second time while it is
        open.
        """
        if self.memory is not None:
            self.memory.close()
            self.memory = None


class Slots:
    """At most ``open_users_max`` open users beside those in use, the most recently used last."""

    def __init__(self, open_users_max: int) -> None:
        self._lock = threading.RLock()
        self._idle = News(self._lock)
        """Told when the last call on a user is done."""
        self._slots: OrderedDict[str, Slot] = OrderedDict()
        self._open_max = min(open_users_max, room())
        self._closed = False
        self._pid = os.getpid()

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def open_max(self) -> int:
        """So many stay open beside those in use."""
        return self._open_max

    def check_open(self) -> None:
        """Raise `Unavailable` (``CLOSED``), `FailedPrecondition` (``FORKED``).

        Asked under a slot's lock, which whoever closes the database takes: what is opened would outlive the
        directory's.
        """
        if self._closed:
            raise _closed()
        if self.is_forked:
            # Nor may it open what the parent has not opened: there would be two writers.
            raise FailedPrecondition(
                "a database cannot be used after fork", reason="FORKED", value=os.getpid()
            )

    @property
    def is_forked(self) -> bool:
        """Whether this process is a child of the one that made them."""
        return os.getpid() != self._pid

    def find(self, user: str) -> Slot | None:
        """The slot of a user that has one."""
        with self._lock:
            return self._slots.get(user)

    def memory_of(self, user: str) -> UserMemory | None:
        """The user's memory if it is open."""
        slot = self.find(user)
        return None if slot is None else slot.memory

    def is_open(self, user: str, *, whole: bool = True) -> bool:
        """Whether a call would have the user at once; whole: as `Users.use`."""
        with self._lock:
            slot = self._slots.get(user)
            if slot is None or slot.memory is None or slot.closing:
                return False
            memory = slot.memory
            return not memory.to_be_opened_again and (memory.is_whole or not whole)

    def is_held_closed(self, user: str) -> bool:
        """Whether somebody keeps calls on the user waiting, who closes it or has it closed."""
        slot = self.find(user)
        return slot is not None and slot.closing

    def open_memories(self) -> list[tuple[str, UserMemory]]:
        """The users that are open now."""
        with self._lock:
            return [
                (user, slot.memory) for user, slot in self._slots.items() if slot.memory is not None
            ]

    # -- calls: `enter`, `call_begins` once the user is open, `leave`

    def enter(self, user: str) -> Slot:
        """The user's slot, which is the most recently used and stays until `leave`; raises as `check_open`."""
        entered: Slot | None = None
        try:
            with self._lock:
                self.check_open()
                slot = self._slots.setdefault(user, Slot())
                self._slots.move_to_end(user)
                slot.users += 1
                entered = slot
            return slot
        except BaseException:
            if entered is not None:  # interrupted on its way out: nobody would leave for it
                self.leave(user, entered, is_call=False)
            raise

    def call_begins(self, slot: Slot) -> None:
        """Count a call that will be done soon (under the slot's lock)."""
        has_begun = False
        try:
            with self._lock:
                slot.calls += 1
                has_begun = True
        except BaseException:
            if has_begun:  # as in `enter`
                with self._lock:
                    self._call_ended(slot)
            raise

    def leave(self, user: str, slot: Slot, *, is_call: bool) -> None:
        """Let go of a slot, and close others that are too many."""
        with self._lock:
            slot.users -= 1
            if is_call:
                self._call_ended(slot)
            is_bare, are_many = slot.memory is None, len(self._slots) > self._open_max
        if is_bare:
            self._drop_if_unused(user, slot)
        if are_many:
            self._evict()

    def call(self, user: str, work: Callable[[UserMemory], T], *, whole: bool = True) -> T:
        """What work makes of the memory of a user that is open: `enter`, `call_begins` and `leave` in a third of
        their time, and nobody's lock is waited for; whole: as `Users.use`.

        Raises `WouldWait` where it is not there at once, and as `check_open`.
        """
        taken: Slot | None = None
        try:
            with self._lock:
                self.check_open()
                slot = self._slots.get(user)
                if slot is None or slot.closing:
                    raise WouldWait
                memory = slot.memory
                # Who opens or closes the user has the slot's lock.
                if memory is None or memory.to_be_opened_again or slot.lock.locked():
                    raise WouldWait
                if whole and not memory.is_whole:
                    raise WouldWait
                self._slots.move_to_end(user)
                slot.users += 1
                slot.calls += 1
                taken = slot
            return work(memory)
        finally:
            if taken is not None:
                with self._lock:
                    taken.users -= 1
                    self._call_ended(taken)
                    is_bare = taken.memory is None
                if is_bare:  # closed meanwhile: who did so left the slot to the call
                    self._drop_if_unused(user, taken)

    def make_room(self) -> None:
        """Close users that are too many, as `leave` does."""
        if len(self._slots) > self._open_max:
            self._evict()

    # -- what is no call

    @contextmanager
    def held(self, user: str) -> Iterator[Slot]:
        """The user's slot, which stays for the length of the block; raises `Unavailable` (``CLOSED``)."""
        taken: Slot | None = None
        try:
            with self._lock:
                if self._closed:
                    raise _closed()
                slot = self._slots.setdefault(user, Slot())
                slot.users += 1
                taken = slot
            yield slot
        finally:
            if taken is not None:
                with self._lock:
                    taken.users -= 1
                self._drop_if_unused(user, taken)

    @contextmanager
    def alone(self, user: str) -> Iterator[Slot]:
        """The user's slot, with no call on it, while new ones wait; raises as `check_open`."""
        with self.held(user) as slot, slot.lock:
            try:
                self.wait_for_calls(slot)
                self.check_open()
                yield slot
            finally:
                slot.closing = False

    def wait_for_calls(self, slot: Slot) -> None:
        """Let the calls on a user end that must be closed (under its slot's lock); new ones wait until ``closing`` is
        taken back.
        """
        with self._lock:
            slot.closing = True
            self._idle.wait_for(lambda: slot.calls == 0, CALLS_END_S)

    def close(self) -> list[Slot]:
        """Let nobody in any more; the slots that there are, whose users are the caller's to close before `clear`.

        Again where that was interrupted: those that are left.
        """
        with self._lock:
            self._closed = True
            return list(self._slots.values())

    def clear(self) -> None:
        """Forget the slots, once their users are closed."""
        with self._lock:
            self._slots.clear()

    def _call_ended(self, slot: Slot) -> None:
        """One of a slot's calls is done (under the lock)."""
        slot.calls -= 1
        if slot.closing and not slot.calls:  # else nobody waits for it
            self._idle.notify_all()

    def _evict(self) -> None:
        """Close the least recently used users above the limit."""
        with self._lock:
            if len(self._slots) <= self._open_max:
                return
            # Not counted: users that cannot be opened, of which only the reason is kept.
            slots = [
                one for one in self._slots.items() if one[1].memory is not None or one[1].users
            ]
            excess = len(slots) - self._open_max
            if excess <= 0:
                return
            victims = [(user, slot) for user, slot in slots if slot.users == 0][:excess]
        for user, slot in victims:
            with slot.lock:
                with self._lock:
                    if slot.users:
                        continue
                # A call that comes now waits for the slot's lock and opens the user again.
                slot.close()
            self._drop_if_unused(user, slot)

    def _drop_if_unused(self, user: str, slot: Slot) -> None:
        with self._lock:
            if (
                slot.users == 0
                and slot.memory is None
                and slot.failure is None
                and self._slots.get(user) is slot
            ):
                del self._slots[user]


def _closed() -> Unavailable:
    return Unavailable("the database is closed", reason="CLOSED")
