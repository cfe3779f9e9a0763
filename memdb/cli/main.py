"""``memdb VERB``: serve a database, verify one, show the configuration.

Exit status: 0 done, 1 it failed (the error is one line on stderr), 2 wrong usage.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import memdb
from memdb.cli import config, serve, verify
from memdb.errors import MemdbError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="memdb", description="A persistent memory database for agents that watch and listen."
    )
    parser.add_argument("--version", action="version", version=f"memdb {memdb.__version__}")
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    for verb in (serve, verify, config):
        verb.add_to(verbs)
    options = parser.parse_args(arguments)
    try:
        status: int = options.run(options)
    except MemdbError as error:
        print(f"memdb: {error}", file=sys.stderr)
        return 1
    return status


if __name__ == "__main__":
    sys.exit(main())
