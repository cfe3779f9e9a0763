"""The clock by which an absence is counted: the wall clock, held back by as much as the newest clip came
after its end, so that what is on its way may still come.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from memdb.engine.moments import commit_time
from memdb.engine.view import View
from memdb.errors import DataLoss
from memdb.eventlog import event_log
from memdb.store.environment import Environment

LATE_MAX_NS: Final = 3600 * 10**9
"""Behind the wall clock by more the user's clock is never."""
_START_MIN: Final = -(2**63)

log = event_log("memdb.engine")


@dataclass(frozen=True, slots=True)
class UserClock:
    """A user's clock as of a commit."""

    newest_end_ns: int = _START_MIN
    """End of the clip that ends last."""
    late_ns: int = 0
    """By how much it came after its end."""

    @classmethod
    def at(cls, environment: Environment, view: View, revision: int) -> Self:
        """The clock as of a commit."""
        found: tuple[int, int] | None = None
        for partition in view.partitions.values():
            column = partition.columns
            born = column["birth"] <= np.uint64(revision)
            if not born.any():
                continue
            end_ns = column["end_ns"][born].max()
            # Of clips that end together the latest, as `with_clips` meets them.
            birth = column["birth"][born & (column["end_ns"] == end_ns)].max()
            one = int(end_ns), int(birth)
            found = one if found is None else max(found, one)
        if found is None:
            return cls()
        time_ns = told_commit_time(environment, found[1])
        return cls(found[0], 0 if time_ns is None else _late_ns(time_ns, found[0]))

    def with_clips(
        self, environment: Environment, end_ns: int, revision: int
    ) -> tuple[Self, int | None]:
        """The clock once clips have come with a commit, the last of which ended at ``end_ns``; and the
        commit's time, None where nobody can tell it.
        """
        time_ns = told_commit_time(environment, revision)
        if time_ns is None or end_ns < self.newest_end_ns:
            return self, time_ns
        return type(self)(end_ns, _late_ns(time_ns, end_ns)), time_ns

    def time_ns(self, wall_ns: int) -> int:
        """What it shows at a time of the wall clock."""
        return wall_ns - self.late_ns

    def wall_ns(self, time_ns: int) -> int:
        """When it will show a time, if nothing comes."""
        return time_ns + self.late_ns


def _late_ns(time_ns: int, end_ns: int) -> int:
    return min(max(time_ns - end_ns, 0), LATE_MAX_NS)


def told_commit_time(environment: Environment, revision: int) -> int | None:
    """When a commit was made; None where its record is damaged, or was emptied by an erasure: who waits
    for an absence waits a little longer, a cursor is known by its revision alone, and `verify` tells the damage.
    """
    try:
        with environment.read() as txn:
            return commit_time(txn, revision)
    except DataLoss as error:
        log.warning(
            "a commit's time cannot be told",
            extra={"fields": {"directory": environment.path.name, "where": error.field}},
        )
        return None
