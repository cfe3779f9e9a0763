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
import traceback
from functools import partial

from tests.crash.file_clock import FileClock


def main() -> None:
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    import memdb.engine.database
    import memdb.server.app
    import memdb.server.process
    from memdb.cli.main import main as main_of_memdb

    for line in sys.stdin:
        asked = json.loads(line)
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                log = os.open(asked["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
                for fd in (1, 2):
                    os.dup2(log, fd)
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
                os.environ.update(asked["environment"])
                if asked["clock"]:
                    # In the place of the class, which nobody has made one of yet.
                    vars(memdb.engine.database)["SystemClock"] = partial(FileClock, asked["clock"])
                status = main_of_memdb(asked["arguments"])
            except BaseException:
                traceback.print_exc()
                raise
            finally:
                sys.stderr.flush()
                os._exit(status)
        _tell(pid=pid)
        _, how = os.waitpid(pid, 0)
        _tell(ended=os.waitstatus_to_exitcode(how))


def _tell(**line: int) -> None:
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
