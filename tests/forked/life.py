"""The life of a command that is forked: what an interpreter makes of its arguments and its environment, and does at
its end."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any


def lived(main: Callable[[], int], asked: dict[str, Any], out: int, err: int) -> int:
    """Be what is asked for; the exit status.

    main: of its script.  asked: ``{"program": ..., "arguments": [...], "environment": {...}, "folder": ...}``.  out,
    err: its standard files; there is nothing to read.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for fd, given in ((1, out), (2, err)):
        os.dup2(given, fd)
        os.close(given)
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    encoding, _, errors = os.environ.get("PYTHONIOENCODING", "utf-8").partition(":")
    sys.stdout = os.fdopen(1, "w", encoding=encoding, errors=errors or "strict")
    sys.stderr = os.fdopen(2, "w", encoding=encoding, errors="backslashreplace", buffering=1)
    sys.argv = [asked["program"], *asked["arguments"]]
    try:
        status = main()
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    # As an interpreter ends, and as multiprocessing does it: once its threads have ended.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    return int(status)
