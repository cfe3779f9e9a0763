"""Damage that a scrub has met: what is met again in every round is told once, and acted on once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from memdb.clock import Clock
from memdb.eventlog import event_log
from memdb.types.change import Discrepancy

TOLD_AGAIN_S: Final = 24 * 3600
"""Damage that stays is logged once more after this."""
PLACES_MAX: Final = 1 << 14
"""Places of damage that are known at once, some 5 MB.  Of what lies beyond a user has one line that says so."""
_MORE: Final = ""
"""In the place of a place: that there is more."""

log = event_log("memdb.engine")


class KnownDamage:
    """Of all users, and of the catalog as that of nobody (``""``); used by one thread, but for `forget`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._told: dict[str, dict[str, int]] = {}
        """When damage was logged (steady ns), by user and place."""
        self._met: set[str] = set()
        """Places of it that were met since `begin`."""

    def begin(self) -> None:
        """A look at all of one user begins."""
        self._met = set()

    def meet(self, found: Discrepancy) -> bool:
        """Log it, unless that was done within a day; whether it is met for the first time, or was away in between.

        Beyond `PLACES_MAX` nothing is the first time.
        """
        places = self._told.setdefault(found.user, {})
        where = found.where
        if where not in places and sum(map(len, list(self._told.values()))) >= PLACES_MAX:
            where = _MORE
        self._met.add(where)
        now_ns = self._clock.steady_ns()
        told_ns = places.get(where)
        if told_ns is None or now_ns - told_ns >= TOLD_AGAIN_S * 10**9:
            places[where] = now_ns
            _log(found, is_more=where == _MORE)
        return told_ns is None and where != _MORE

    def end(self, user: str) -> None:
        """All of a user was looked at: damage that was not met is there no more."""
        places = self._told.pop(user, None)
        if places is None:
            return
        left = {where: told_ns for where, told_ns in places.items() if where in self._met}
        if left:
            self._told[user] = left

    def keep(self, users: Iterable[str]) -> None:
        """Forget all users but these."""
        for user in self._told.keys() - {"", *users}:
            self.forget(user)

    def forget(self, user: str) -> None:
        """A user is erased; in any thread."""
        self._told.pop(user, None)


def _log(found: Discrepancy, *, is_more: bool) -> None:
    fields = {"user": found.user} if found.user else {}
    if is_more:
        log.error("the scrub found more damage than is logged", extra={"fields": fields})
        return
    fields |= {"where": found.where, "what": found.what}
    log.error("the scrub found damage", extra={"fields": fields})
