"""A program with the embedded database: the load of `tests.crash.load`, every acknowledgement told on
a pipe as soon as it is there.  Runs until it is killed, or for a minute; with ``MEMDB_CRASH_ERASE``
= seconds it then erases its user.  ``MEMDB_ENGINE__*`` configure it.
"""

from __future__ import annotations

import json
import os
import sys
import time

from memdb import Ack, Clip
from memdb.config import load_config
from memdb.engine.database import EmbeddedDatabase
from tests.crash.load import DIM, SPACE, running


class Pipe:
    """Tells; one write per line, so that a line is there whole or not at all."""

    def tell(self, **line: object) -> None:
        os.write(1, json.dumps(line).encode() + b"\n")

    def acknowledged(self, stream: str, clip: Clip, ack: Ack | None) -> None:
        known = None if ack is None else [ack.clip_id, ack.revision, ack.duplicate]
        self.tell(stream=stream, seq=clip.seq, end_ns=clip.end_ns, sealed=clip.sealed, ack=known)

    def answered(self, revision: int, answer: str) -> None:
        self.tell(revision=revision, answer=answer)


def main() -> int:
    data, user = sys.argv[1:]
    pipe = Pipe()
    # A small map, so that it has to grow under the load.
    config = load_config(None, os.environ, {"engine.map_bytes_initial": 1 << 20}).engine
    with EmbeddedDatabase(data, config=config, embed_texts=False) as db:
        db.create_space(SPACE, dim=DIM)
        pipe.tell(ready=os.getpid())
        with running(db, user, pipe) as load:
            erase_after = os.environ.get("MEMDB_CRASH_ERASE")
            time.sleep(float(erase_after or 60.0))
        if erase_after is not None:
            db.user(user).erase()
        pipe.tell(done=True, errors=load.errors)
    return 0


if __name__ == "__main__":
    sys.exit(main())
