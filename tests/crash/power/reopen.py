"""Opens a database after a crash, marks what it finds there, writes a value and closes: run under
`recorder.c`, so that power can go again while it recovers.

What was once found must be found again, even where the first crash left it open.

python -m tests.crash.power.reopen DATA MARK
"""

from __future__ import annotations

import json
import os
import sys

from memdb.engine.database import EmbeddedDatabase
from tests.crash.power.observed import observe
from tests.crash.power.workload import CONFIG, mark


def main() -> None:
    data, mark_path = sys.argv[1:]
    fd = os.open(mark_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with EmbeddedDatabase(data, config=CONFIG, embed_texts=False) as db:
        mark(fd, {"found": observe(db)})
        for user in db.users()[:1]:
            value = {f"value {user} k0": json.dumps("recovered")}
            mark(fd, {"next": value})
            db.user(user).put("k0", "recovered")
            mark(fd, {"done": True, "markers": [], "resend": None})
    os.close(fd)


if __name__ == "__main__":
    main()
