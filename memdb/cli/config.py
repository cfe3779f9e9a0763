"""``memdb config print``: the configuration in force, as a commented TOML file."""

from __future__ import annotations

import argparse
import os
from typing import Any

from memdb.cli.serve import add_options, overrides
from memdb.config import load_config, to_toml

EXAMPLE = """\
example:
  memdb config print > memdb.toml                   every key with its default and meaning
  MEMDB_SERVER__GRACE_S=30 memdb config print --config memdb.toml

Defaults, then the file, then MEMDB_SECTION__KEY in the environment, then flags.
"""


def add_to(verbs: Any) -> None:
    """Add the command to the parser."""
    parser = verbs.add_parser(
        "config",
        allow_abbrev=False,
        help="show the configuration",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    shown = actions.add_parser(
        "print",
        help="print the configuration in force as TOML",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_options(shown)
    shown.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print; returns the exit status."""
    print(to_toml(load_config(options.config, os.environ, overrides(options))), end="")
    return 0
