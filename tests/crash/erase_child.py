"""Erases half of what `erase_plant` planted; a failpoint may kill it on the way.

python -m tests.crash.erase_child DIRECTORY USER
"""

from __future__ import annotations

import sys

import memdb


def main() -> None:
    directory, user_id = sys.argv[1:]
    with memdb.open(directory) as db:
        user = db.user(user_id)
        user.stream("gone").erase()
        ids = [found.id for found in user.clips(stream="mixed", limit=1000) if found.seq % 2]
        user.erase_clips(ids)


if __name__ == "__main__":
    main()
