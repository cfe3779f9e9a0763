"""Commits that a restore, or a power loss, undid, and whose numbers others have since."""

from __future__ import annotations

from memdb.engine.standing_clock import told_commit_time
from memdb.errors import NotFound
from memdb.store.environment import Environment


def check_commit(environment: Environment, revision: int, time_ns: int, field: str) -> None:
    """Refuse a place behind a commit that was made at ``time_ns``, where the one that has its number was not: what came
    with that, and with those before it that are others now, would never be told.

    Goes by the number alone where the stored commit does not tell its time.
    """
    if told_commit_time(environment, revision) not in (None, time_ns):
        raise NotFound(
            "that commit was undone, as by a restore, and another has its number: watch from the beginning",
            reason="REVISION_NOT_FOUND",
            field=field,
            value=revision,
        )
