"""``memdb VERB``: serve a database, verify, back up and restore one, list users and gaps, say what streams
keep and give it up, erase, compact, replace its master key, make it anew, show the configuration.

Exit status: 0 done, 1 it failed (the error is one line on stderr), 2 wrong usage, a wrong value included, 130
interrupted.  Of a command whose 1 says that it found something (its default ``finds``), 2 also where what it is to look
at is not there.
"""

from __future__ import annotations

# Little at the top: what a command needs is loaded in `main`, where it can be interrupted quietly.
import os
import sys
from typing import TYPE_CHECKING

from memdb.interrupts import INTERRUPTED, loading

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from memdb.errors import MemdbError

WRONG_USAGE = 2
OURS = ("memdb", "memdb_client")
"""Packages whose absence is a bug of ours, not an extra that was left out."""

ADVICE = {
    "DIRECTORY_LOCKED": "stop it, or give --server where the command takes it",
    "NOT_A_DATABASE": "`memdb serve --data DIR` makes one of a directory that is new or empty",
    "MASTER_KEY_REQUIRED": "give --master-key-file",
    "NOT_ENCRYPTED": "leave the master key file out, or see `memdb upgrade --encrypt-with`",
    "UNKNOWN_KEY": "`memdb config print` shows every key and its section",
    "BACKUP_DISABLED": "start the server with --backup-dir",
    "LEGAL_HOLD": "`memdb retention --no-hold` ends it",
}
"""By reason."""

EXAMPLE = """\
example:
  memdb serve --data ./data --listen 127.0.0.1:7700
  memdb users --server 127.0.0.1:7700
  memdb verify --help                               what a verb takes, and more examples

memdb-ingest watches cameras for a server, memdb-ask asks one questions.
"""

EXPORT = ("pyarrow", "safetensors")
"""Packages of the extra ``export``."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    try:
        return _main(arguments)
    except KeyboardInterrupt:
        # Once it serves, an interrupt is an orderly stop.
        return INTERRUPTED


def _main(arguments: Sequence[str] | None) -> int:
    # Before numpy is loaded.  Questions that are asked together are one product of matrices, and our threads take the
    # processors already: with two threads of its own BLAS took four times as long on two that others used too.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    with loading():
        from contextlib import nullcontext

        from memdb.cli.logged import Logged
        from memdb.errors import InvalidArgument, MemdbError, NotFound
        from memdb.output import OutputLost, keep_standard_files, parsed, result_on_stdout

        parser = _parser()
    keep_standard_files()
    options = parsed(parser, arguments)
    options.logged = Logged()
    has_log = getattr(options, "has_log", False)
    try:
        with result_on_stdout(), nullcontext() if has_log else options.logged:
            status: int = options.run(options)
    except OutputLost as error:
        if not error.is_read_enough or has_log:  # a server that does not start
            print(f"memdb: {error}", file=sys.stderr)
        return 1
    except MemdbError as error:
        print(f"memdb: {error}{_advice(error)}", file=sys.stderr)
        wrong = isinstance(error, InvalidArgument)
        if isinstance(error, NotFound) and getattr(options, "finds", False):
            wrong = True
        return WRONG_USAGE if wrong else 1
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in OURS:
            raise
        name = (error.name or "").partition(".")[0]
        extra = "export" if name in EXPORT else "server"
        print(
            f'memdb: {error.name} is not installed: this needs the extra "memdb[{extra}]"',
            file=sys.stderr,
        )
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    import argparse

    import memdb
    from memdb.cli import (
        backup,
        compact,
        config,
        drill,
        erase,
        export,
        gaps,
        restore,
        retention,
        rotate,
        serve,
        sweep,
        upgrade,
        users,
        verify,
    )
    from memdb.cli.verb_parser import VerbParser

    keeping = (verify, users, gaps, retention, sweep, erase, compact)
    copying = (backup, restore, drill, export)
    parser = VerbParser(
        prog="memdb",
        description="A persistent memory database for agents that watch and listen.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"memdb {memdb.__version__}")
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    for verb in (serve, *keeping, *copying, rotate, upgrade, config):
        verb.add_to(verbs)
    return parser


def _advice(error: MemdbError) -> str:
    """What to do at a prompt, where the error itself, which programs get too, does not say."""
    advice = ADVICE.get(error.reason)
    if error.reason == "NOT_A_DATABASE" and error.field == "format":
        advice = None  # all the data is there, and nobody is to be told to empty the directory
    return f"; {advice}" if advice else ""


if __name__ == "__main__":
    sys.exit(main())
