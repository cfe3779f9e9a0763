"""Where a command finds its database: a directory of its own, or a running server."""

from __future__ import annotations

import argparse
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from memdb.errors import InvalidArgument

if TYPE_CHECKING:
    from memdb.types.database import Database


def add_source(parser: argparse.ArgumentParser) -> None:
    """Add ``DIR`` and ``--server`` to a parser; one of them is wanted."""
    parser.add_argument(
        "data", metavar="DIR", nargs="?", help="directory of a database that no server has open"
    )
    parser.add_argument("--server", metavar="HOST:PORT", help="a running `memdb serve` instead")
    parser.add_argument("--token", help="token, where the server asks for one")
    parser.add_argument(
        "--tls", metavar="FILE", help="PEM file of the authority of its certificate"
    )


def opened(options: argparse.Namespace) -> AbstractContextManager[Database]:
    """The database of the options; raises `InvalidArgument` unless they name exactly one."""
    if (options.data is None) == (options.server is None):
        raise InvalidArgument("expected DIR or --server", reason="BAD_USAGE", field="data")
    if options.server is not None:
        from memdb_client import connect

        return connect(options.server, token=options.token, tls=options.tls)
    from memdb.engine.database import EmbeddedDatabase

    # Made anew it would be empty.
    return EmbeddedDatabase(options.data, create=False)
