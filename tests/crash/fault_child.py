"""Short lives of an embedded database, told line by line on standard output; in each, some system call may
fail on the way.  Prints what was acknowledged, and each error by its class and reason; any other exception
ends the life with a traceback and status 1.

    python -m tests.crash.fault_child DIRECTORY

The life is lived once before, unseen and in ``DIRECTORY.before``, so that every module that it needs is
there: what is tested is memdb, not the interpreter.  Then, for each line on standard input that names a
directory, a child is forked, says ``ready`` with its process id, waits for another line, for someone to
begin to trace it, and lives; at last ``ended`` tells its exit status.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import sys
from collections.abc import Callable
from functools import partial

import numpy as np

from memdb import Clip, MemdbError
from memdb.config import EngineConfig
from memdb.engine.database import EmbeddedDatabase
from tests.forked.births import born, ended
from tests.forked.loading import load

CONFIG = EngineConfig(map_bytes_initial=1 << 20, disk_free_bytes_min=1 << 20)
DIM = 8
PR_SET_PTRACER, PR_SET_PTRACER_ANY = 0x59616D61, -1

Tell = Callable[..., None]


def tell(**line: object) -> None:
    for _ in range(2):
        # A fault that hits this very call is not one of memdb's.
        with contextlib.suppress(OSError):
            os.write(1, json.dumps(line).encode() + b"\n")
            return
    os._exit(1)  # nobody listens any more


def unheard(**line: object) -> None:
    """Tell nobody."""


def clip(stream: str, seq: int) -> Clip:
    rng = np.random.default_rng([sum(stream.encode()), seq])
    return Clip(
        seq=seq,
        start_ns=seq * 10,
        end_ns=seq * 10 + 10,
        global_memory=rng.standard_normal(DIM).astype(np.float32),
        short_memory=rng.standard_normal((512, DIM)).astype(np.float16),
        labels={"n": str(seq)},
    )


def main() -> None:
    before = sys.argv[1] + ".before"
    live(before, unheard)
    shutil.rmtree(before)
    load()
    while data := _line():
        tell(ended=ended(born(partial(_traced, data))))


def _traced(data: str) -> int:
    """The life of a child, begun when someone traces it."""
    # Where only a parent may trace: a kernel without that rule knows no such option, and needs none.
    ctypes.CDLL(None).prctl(PR_SET_PTRACER, ctypes.c_long(PR_SET_PTRACER_ANY), 0, 0, 0)
    tell(ready=os.getpid())
    _line()
    live(data, tell)
    return 0


def _line() -> str:
    """A line of standard input, without what may come after; empty at its end."""
    return os.read(0, 4096).decode().strip()


def live(data: str, tell: Tell) -> None:
    """Open, use and close a database; and open it once more, which shows what was left behind."""

    def tried(what: str, step: Callable[[], object], **about: object) -> None:
        try:
            step()
        except MemdbError as error:
            tell(failed=what, error=type(error).__name__, reason=error.reason, about=str(error))
        else:
            tell(done=what, **about)

    db = _opened(data, tell)
    if db is None:
        return
    tell(begun=True)
    with db:
        tried("space", lambda: db.create_space("s", dim=DIM))
        for name in ("alice", "bob"):
            user = db.user(name)
            door = user.stream("door", space="s")
            for seq in range(12):
                tried("write", lambda: door.write(clip("door", seq)), user=name, seq=seq)  # noqa: B023
            tried("fact", lambda: user.remember("the mug is blue"), user=name)  # noqa: B023
            tried("value", lambda: user.put("diet", 7), user=name)  # noqa: B023
            tried("read", lambda: user.clips())  # noqa: B023
        erased = _listed(db, "bob")[:2]
        ids, seqs = [one for one, _ in erased], [seq for _, seq in erased]
        if erased:
            tell(erasing=seqs)
            tried("erase", lambda: db.user("bob").erase_clips(ids), user="bob", ids=ids)
        tried("user", lambda: db.user("carol").put("x", 1), user="carol")
        tried("erase user", lambda: db.user("carol").erase(), user="carol")
    tell(closed=True)
    again = _opened(data, tell)
    if again is not None:
        with again:
            again.verify()


def _opened(data: str, tell: Tell) -> EmbeddedDatabase | None:
    """The database; a second try when the first fails, since a call that failed once leaves nothing in the
    way of the next."""
    for turn in range(2):
        try:
            return EmbeddedDatabase(data, config=CONFIG, embed_texts=False)
        except MemdbError as error:
            what = "open again" if turn else "open"
            tell(failed=what, error=type(error).__name__, reason=error.reason, about=str(error))
    return None


def _listed(db: EmbeddedDatabase, user: str) -> list[tuple[str, int]]:
    try:
        return [(found.id, found.seq) for found in db.user(user).clips()]
    except MemdbError:
        return []


if __name__ == "__main__":
    main()
