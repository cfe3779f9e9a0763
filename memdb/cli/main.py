"""``memdb VERB``: serve a database, verify, back up and restore one, list gaps, replace its master key,
make it anew, show the configuration.

Exit status: 0 done, 1 it failed (the error is one line on stderr), 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import memdb
from memdb.cli import backup, config, drill, export, gaps, restore, rotate, serve, upgrade, verify
from memdb.errors import MemdbError

INTERRUPTED = 130
OURS = ("memdb", "memdb_client")
"""Packages whose absence is a bug of ours, not an extra that was left out."""

EXPORT = ("pyarrow", "safetensors")
"""Packages of the extra ``export``."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="memdb",
        description="A persistent memory database for agents that watch and listen.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"memdb {memdb.__version__}")
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    for verb in (serve, verify, gaps, backup, restore, drill, export, rotate, upgrade, config):
        verb.add_to(verbs)
    options = parser.parse_args(arguments)
    try:
        status: int = options.run(options)
    except MemdbError as error:
        print(f"memdb: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in OURS:
            raise
        name = (error.name or "").partition(".")[0]
        needs = (
            'this needs the extra "memdb[export]"'
            if name in EXPORT
            else 'the server needs the extra "memdb[server]"'
        )
        print(f"memdb: {error.name} is not installed: {needs}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        # While starting; once it serves, an interrupt is an orderly stop.
        return INTERRUPTED
    return status


if __name__ == "__main__":
    sys.exit(main())
