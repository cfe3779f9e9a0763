"""Forks one `memdb serve` after the other from a process that has loaded their modules, and nothing else of
theirs: what a start costs is mostly the interpreter's, and thousands are killed.

Reads JSON lines on standard input, ``{"arguments": [...], "log": FILE, "environment": {...}, "clock": FILE}``;
prints ``{"pid": ...}`` for each, and ``{"ended": status}`` when it is dead.  What a server prints goes to the
log.  Where a clock is named, the server takes the time from there (`tests.crash.file_clock`).
"""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from typing import Any

from memdb import failpoints
from tests.crash.file_clock import FileClock
from tests.forked.births import born, ended
from tests.forked.loading import load

LOADED = (
    *("memdb.cli.main", "memdb.cli.config", "memdb.cli.source", "memdb.engine.database"),
    *("memdb.server.app", "memdb.server.logs", "memdb.server.process", "grpc._utilities"),
)
OF_THE_EDGE = "memdb.server.native_edge", "memdb.server.listed_shelf", "memdb.server.shelf"
"""Where it is installed."""


def main() -> None:
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    # After the line above, which gRPC reads as it is loaded, and before the fork.
    import memdb.cli.main
    from memdb import native

    # Made once, which loads every verb: a third of what a server does until it listens.
    parser = memdb.cli.main._parser()
    vars(memdb.cli.main)["_parser"] = lambda: parser
    load(*LOADED, *(OF_THE_EDGE if native.is_installed() else ()))
    for line in sys.stdin:
        pid = born(partial(_serve, json.loads(line)))
        _tell(pid=pid)
        _tell(ended=ended(pid))


def _serve(asked: dict[str, Any]) -> int:
    """The life of a child: `memdb` with the arguments that are asked for."""
    import memdb.cli.main
    import memdb.engine.database

    log = os.open(asked["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for fd in (1, 2):
        os.dup2(log, fd)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.update(asked["environment"])
    # Read from the environment when it was loaded, before the fork.
    failpoints.arm(os.environ.get("MEMDB_FAILPOINTS", ""))
    if asked["clock"]:
        # In the place of the class, which nobody has made one of yet.
        vars(memdb.engine.database)["SystemClock"] = partial(FileClock, asked["clock"])
    return memdb.cli.main.main(asked["arguments"])


def _tell(**line: int) -> None:
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
