"""A program that backs up or restores, and dies where ``MEMDB_FAILPOINTS`` says::

python -m tests.crash.backup_child backup DATA ARCHIVE [PARENT]
python -m tests.crash.backup_child restore ARCHIVE DATA
"""

from __future__ import annotations

import json
import sys

from memdb.config import EngineConfig
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.restore import restore


def main(action: str, source: str, target: str, parent: str | None = None) -> None:
    """Do it, and say so."""
    if action == "restore":
        restore(source, target)
    else:
        config = EngineConfig(map_bytes_initial=1 << 20)
        with EmbeddedDatabase(source, config=config, embed_texts=False) as db:
            db.backup(target, parent=parent)
    print(json.dumps({"done": action}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
