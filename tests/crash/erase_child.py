"""Erases of what `test_erase` planted: facts, a stream, clips of another, a whole user; a failpoint
may kill it on the way.  At the end it prints how often each failpoint was passed, as JSON.

python -m tests.crash.erase_child DIRECTORY USER STREAM OTHER_USER
"""

from __future__ import annotations

import json
import sys
from collections import Counter

from memdb import failpoints
from memdb.config import IndexConfig
from memdb.engine.database import EmbeddedDatabase
from memdb.types.database import Database

INDEX = IndexConfig(checkpoint_rows=1)
"""Checkpoints of the smallest users too: what is erased must go from them as well."""


def erase_planted(db: Database, user_id: str, stream: str, other: str) -> None:
    """Erase whatever of it is there still."""
    if other in db.users():
        db.user(other).erase()
    user = db.user(user_id)
    for fact in user.facts(about=stream, limit=1000):
        user.forget(fact.id)
    if stream in {info.name for info in user.streams()}:
        user.stream(stream).erase()
    odd = [found.id for found in user.clips(stream="mixed", limit=1000) if found.seq % 2]
    if odd:
        user.erase_clips(odd)


def main() -> None:
    directory, user_id, stream, other = sys.argv[1:]
    passed: Counter[str] = Counter()
    real = failpoints.hit

    def hit(name: str) -> None:
        passed[name] += 1
        real(name)

    failpoints.hit = hit
    with EmbeddedDatabase(directory, index=INDEX) as db:
        erase_planted(db, user_id, stream, other)
    json.dump(passed, sys.stdout)


if __name__ == "__main__":
    main()
