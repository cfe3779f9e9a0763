"""Takes away what `test_compact` planted, and compacts; a failpoint may kill it on the way.  At the end it prints how
often each failpoint of the compaction was passed, as JSON.

python -m tests.crash.compact_child DIRECTORY USER
"""

from __future__ import annotations

import json
import sys
from collections import Counter

from memdb import Retention, failpoints
from memdb.config import IndexConfig
from memdb.engine.database import EmbeddedDatabase
from memdb.types.database import Database

INDEX = IndexConfig(checkpoint_rows=1)
"""Checkpoints of the smallest users too: what is to go must go from them as well."""


def take_away(db: Database, user_id: str) -> None:
    """Forget, remove and expire whatever of it is there still; only the newest clip stays."""
    user = db.user(user_id)
    for fact in user.facts(about="gone"):
        user.forget(fact.id)
    for key in user.keys("gone"):
        user.remove(key)
    for question in user.standing.list():
        user.standing.remove(question.id)
    user.stream("door").set_retention(Retention(max_clips=1))
    db.sweep()


def main() -> None:
    directory, user_id = sys.argv[1:]
    passed: Counter[str] = Counter()
    real = failpoints.hit

    def hit(name: str) -> None:
        passed[name] += 1
        real(name)

    with EmbeddedDatabase(directory, index=INDEX) as db:
        take_away(db, user_id)
        failpoints.hit = hit
        db.user(user_id).compact()
        failpoints.hit = real
    json.dump(passed, sys.stdout)


if __name__ == "__main__":
    main()
