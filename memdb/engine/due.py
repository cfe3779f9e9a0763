"""What an open user wants done that nobody waits for, as its calls show."""

from __future__ import annotations

from memdb.engine.memory import UserMemory
from memdb.engine.upkeep import Upkeep


def want_due(upkeep: Upkeep, memory: UserMemory) -> None:
    """Have done, in the background, what a call has shown to be due."""
    view, kept = memory.view, memory.kept
    if not view.once("upkeep", lambda: kept.may_be_due(view), lambda _: 0):
        # As of most users, after each of their questions.
        if memory.standing.is_asked:
            _want_margins(upkeep, memory)
        return
    for partition in view.partitions.values():
        if partition.tiers.is_due:
            upkeep.want(partition.tiers)
    _want_margins(upkeep, memory)
    if kept.is_due:
        upkeep.want(kept)


def _want_margins(upkeep: Upkeep, memory: UserMemory) -> None:
    for margins in memory.standing.due():
        upkeep.want(margins)
