"""Opens a database after a crash, marks what it finds there, makes a space, writes a value and closes: run
under `recorder.c`, so that power can go again while it recovers.

What was once found must be found again, even where the first crash left it open.  The value is the first
user's, and that of each user named, who may be of whom the crash left no more than a directory.

python -m tests.crash.power.reopen DATA MARK [USER ...]
"""

from __future__ import annotations

import json
import os
import sys

from memdb.engine.database import EmbeddedDatabase
from tests.crash.power.observed import observe
from tests.crash.power.workload import CONFIG, give_small_files_blocks, mark


def main() -> None:
    data, mark_path, *named = sys.argv[1:]
    give_small_files_blocks()
    fd = os.open(mark_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with EmbeddedDatabase(data, config=CONFIG, embed_texts=False) as db:
        mark(fd, {"found": observe(db)})
        with_space = {"space recovered": "3"}
        mark(fd, {"next": with_space})
        db.create_space("recovered", dim=3)
        mark(fd, {"done": True, "markers": [], "resend": None})
        for user in dict.fromkeys((*db.users()[:1], *named)):
            value = {f"user {user}": "there", f"value {user} k0": json.dumps("recovered")}
            mark(fd, {"next": value})
            db.user(user).put("k0", "recovered")
            mark(fd, {"done": True, "markers": [], "resend": None})
    os.close(fd)


if __name__ == "__main__":
    main()
