"""The clock that ages are compared with: it follows the wall clock as far as that can be believed.

A user's mark, written by sweeps, says how far its clock of retention has come.  It never goes back,
and each sweep moves it toward the wall clock by no more than

    the time that passed since the sweep before, and a quarter of it to make up for what it lags;
    of the first sweep after a start, `DOWNTIME_MAX_NS` more: how long the process was down nobody
    but the wall clock knows.

While the wall clock is behind the mark by more than `TOLERANCE_NS` one of the two is wrong, and
nothing has an age.

A user without a mark may have been written to under the wall clock that is wrong now, so its newest
commit proves nothing.  What is begun from is the newest commit that is not of this process, or for a
user that this process made the process's own start; and no clip is older than it is beside the
newest one.  The mark is written once both agree with the wall clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from memdb.clock import Clock
from memdb.engine.view import View
from memdb.index.columns import ALIVE

DOWNTIME_MAX_NS: Final = 25 * 3600 * 10**9
"""A day and an hour: a process that is started once a day keeps up with the clock."""
MAKING_UP: Final = 4
"""What the clock lags it makes up for by one hour in so many."""
TOLERANCE_NS: Final = 3600 * 10**9
"""By how much the wall clock may have been set back without anyone minding."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The clock of retention of one user at one sweep."""

    wall_ns: int
    steady_ns: int
    clock_ns: int
    """For commits: how old is what was superseded."""
    aged_ns: int
    """For clips, whose ends are times that their agents say; at most `clock_ns`."""

    @property
    def agrees(self) -> bool:
        """Whether everything known lets the wall clock be right."""
        return self.aged_ns >= self.wall_ns

    @property
    def lag_ns(self) -> int:
        """How far the wall clock is ahead of what is believed."""
        return max(0, self.wall_ns - self.aged_ns)


class RetentionClock:
    """The clocks of retention of all users, for the life of a process; for one thread at a time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began_ns = clock.now_ns()
        self._began_steady_ns = clock.steady_ns()
        self._moved: dict[str, int] = {}
        """User -> when this process last moved the mark, by the steady clock."""
        self._doubted: dict[str, int] = {}
        """User without a mark -> since when this process doubts the wall clock."""

    def read(self, view: View, found_ns: int | None) -> Reading | None:
        """The user's clock of retention now, None when the wall clock is behind it.

        found_ns: when the newest commit was made that is not of this process, None without one.
        """
        wall_ns, steady_ns = self._clock.now_ns(), self._clock.steady_ns()
        state = view.state
        if state.sweep_ns is not None:
            if wall_ns < state.sweep_ns - TOLERANCE_NS:
                return None
            reach_ns = state.sweep_ns + self._allowed(state.user, steady_ns)
            clock_ns = max(state.sweep_ns, min(wall_ns, reach_ns))
            return Reading(wall_ns, steady_ns, clock_ns, clock_ns)
        allowed_ns = self._allowed_at_first(state.user, steady_ns)
        newest_end_ns = _newest_end_ns(view)
        known_ns = state.counters.time_ns
        if newest_end_ns is not None:
            known_ns = min(known_ns, newest_end_ns)
        if wall_ns < known_ns - TOLERANCE_NS:
            return None
        if found_ns is not None:
            # A machine without a battery starts in 1970, until somebody tells it the time.
            self._began_ns = max(self._began_ns, min(found_ns, wall_ns))
        start_ns = self._began_ns if found_ns is None else found_ns
        clock_ns = aged_ns = min(wall_ns, start_ns + allowed_ns)
        if newest_end_ns is not None:
            aged_ns = min(clock_ns, newest_end_ns + allowed_ns)
        reading = Reading(wall_ns, steady_ns, clock_ns, aged_ns)
        if not reading.agrees:
            self._doubted.setdefault(state.user, steady_ns)
        return reading

    def moved(self, user: str, reading: Reading) -> None:
        """The mark was moved to what was read."""
        self._moved[user] = reading.steady_ns
        self._doubted.pop(user, None)

    def forget(self, user: str) -> None:
        """The user was erased; on any thread."""
        self._moved.pop(user, None)
        self._doubted.pop(user, None)

    def _allowed(self, user: str, steady_ns: int) -> int:
        """How far the user's clock may go beyond its mark."""
        moved_ns = self._moved.get(user)
        if moved_ns is None:
            return DOWNTIME_MAX_NS + steady_ns - self._began_steady_ns
        passed_ns = steady_ns - moved_ns
        return passed_ns + passed_ns // MAKING_UP

    def _allowed_at_first(self, user: str, steady_ns: int) -> int:
        """How far the clock of a user without a mark may go beyond what it is begun from."""
        doubted_ns = steady_ns - self._doubted.get(user, steady_ns)
        return DOWNTIME_MAX_NS + steady_ns - self._began_steady_ns + doubted_ns // MAKING_UP


def _newest_end_ns(view: View) -> int | None:
    """When the newest clip ended, by what its agent says; None where there is no clip."""
    ends = [
        int(partition.columns["end_ns"][there].max())
        for partition in view.partitions.values()
        for there in (partition.columns["birth"] != ALIVE,)
        if there.any()
    ]
    return max(ends, default=None)
