"""Programs that together pass every failpoint, forked from a process that has their modules.

Reads JSON lines on standard input, ``{"program": ..., "where": DIRECTORY, "seed": n, "failpoints": ...}``;
prints ``{"ended": status}`` for each.  Programs:

``work``    `tests.crash.power.workload` on ``where/data``, its marks in ``where/mark``
``carry``   backs ``where/data`` up, in full and then what came since, restores that; backs ``where/secret``
            up before and after a user of it is erased, and replaces its master key; marks as above

A program that lives to its end leaves how often it passed each failpoint in ``where/hits.json``.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

from memdb import failpoints
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.restore import restore
from memdb.store.rotation import rotate_master_key
from tests.crash.power.workload import CONFIG, mark, work
from tests.forked.births import born, ended
from tests.forked.loading import load

OLD_KEY, NEW_KEY = b"o" * 32, b"n" * 32
NEVER = 1 << 60


def carry(where: Path, mark_fd: int) -> None:
    """Back up, restore, rotate."""
    with EmbeddedDatabase(where / "data", config=CONFIG, embed_texts=False) as db:
        user = db.user(db.users()[0])
        db.backup(where / "full")
        mark(mark_fd, {"next": {f"value {user.id} k0": '"carried"'}})
        user.put("k0", "carried")
        mark(mark_fd, {"done": True, "markers": [], "resend": None})
        db.backup(where / "since", parent=where / "full")
    restore(where / "since", where / "copy")
    config = replace(CONFIG, master_key_file=str(where / "master.key"))
    with EmbeddedDatabase(where / "secret", config=config, embed_texts=False) as db:
        db.user("carol").put("k", "carol")
        db.backup(where / "keyed")
        db.user("carol").erase()
        db.backup(where / "forgotten", parent=where / "keyed")
    rotate_master_key(where / "secret", OLD_KEY, NEW_KEY)


def main() -> None:
    load("memdb.store.cipher", "memdb.store.keyring")
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps({"ended": ended(born(partial(_run, asked)))}), flush=True)


def _run(asked: dict[str, str]) -> int:
    """The life of a child: the program that is asked for."""
    # Also for the processes that it starts.
    os.environ["MEMDB_FAILPOINTS"] = asked["failpoints"]
    failpoints.arm(asked["failpoints"])
    where = Path(asked["where"])
    fd = os.open(where / "mark", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    if asked["program"] == "work":
        work(str(where / "data"), fd, int(asked["seed"]))
    else:
        carry(where, fd)
    hits = {name: point.hits for name, point in failpoints._armed.items()}
    (where / "hits.json").write_text(json.dumps(hits))
    return 0


if __name__ == "__main__":
    main()
