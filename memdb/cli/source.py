"""Where a command finds its database: a directory of its own, or a running server."""

from __future__ import annotations

import argparse
import os
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Final

from memdb.config import EngineConfig, load_config
from memdb.errors import DeadlineExceeded, InvalidArgument, Unavailable
from memdb.grpclog import silence_grpc
from memdb.interrupts import loading
from memdb.types.authorities import TLS_HELP, authorities

if TYPE_CHECKING:
    from memdb.store.archivekeys import KeyFiles
    from memdb.types.database import Database

USAGE: Final = "BAD_USAGE"
"""Reason of a command line that names no database, or two."""
ANSWER_S: Final = 10.0
"""How long a server may take to answer at all.  A client waits for a server that is restarting, for an
hour where the call takes long (a backup): at a prompt that is a hang without a word."""


def add_source(
    parser: argparse.ArgumentParser,
    *,
    directory: str = "directory of a database that no server has open",
) -> None:
    """Add ``DIR``, which ``directory`` describes, and ``--server`` to a parser; one of them is wanted."""
    parser.add_argument("data", metavar="DIR", nargs="?", help=directory)
    parser.add_argument("--server", metavar="HOST:PORT", help="a running `memdb serve` instead")
    parser.add_argument("--master-key-file", metavar="FILE", help="needed where DIR is encrypted")
    parser.add_argument("--token", help="token, where the server asks for one")
    parser.add_argument("--tls", metavar="FILE", help=TLS_HELP)


def opened(
    options: argparse.Namespace, *, reads_archive: bool = False
) -> AbstractContextManager[Database]:
    """The database of the options.

    reads_archive: the command reads an archive as well, whose master key it needs whoever has the database open.

    Raises `InvalidArgument` unless they name exactly one, and for a master key that nothing would use,
    `Unavailable` when no server answers.
    """
    if (options.data is None) == (options.server is None):
        why = "expected DIR or --server" + (", not both" if options.server else "")
        raise InvalidArgument(why, reason=USAGE, field="data")
    if options.server is not None and options.master_key_file is not None and not reads_archive:
        # Passed over, an archive of a plain database would be taken for one that is encrypted.
        raise InvalidArgument(
            "a server has its own master key (memdb serve --master-key-file): leave this one out",
            reason=USAGE,
            field="master_key_file",
            value=options.master_key_file,
        )
    if options.server is not None:
        silence_grpc()
        tls = authorities(options.tls)
        with loading():
            from memdb_client import connect

        with connect(options.server, token=options.token, tls=tls, timeout_s=ANSWER_S) as probe:
            try:
                probe.spaces()
            except (Unavailable, DeadlineExceeded) as error:
                raise Unavailable(
                    f"no server answers there within {ANSWER_S:.0f} s: {error.message}",
                    reason=error.reason,
                    field="server",
                    value=options.server,
                ) from error
        return connect(options.server, token=options.token, tls=tls)
    with loading():
        from memdb.engine.database import EmbeddedDatabase

    # Made anew it would be empty.
    return EmbeddedDatabase(options.data, config=engine_of(options), create=False)


def engine_of(options: argparse.Namespace) -> EngineConfig:
    """The engine's configuration by the environment, as a server's, with the master key file of the options.

    Raises as `key_file` and `memdb.config.load_config`.
    """
    given = key_file(options.master_key_file)
    overrides = {"engine.master_key_file": given} if given else {}
    return load_config(None, os.environ, overrides).engine


def key_file(given: str | None, name: str = "master_key_file") -> str:
    """What an option names, empty when it was not given.

    Raises `InvalidArgument` (``BAD_MASTER_KEY``) for an option without a name, as from a variable
    that is not set: that is not taken for no key.
    """
    if given == "":
        raise InvalidArgument(
            "expected the name of a file", reason="BAD_MASTER_KEY", field=name, value=given
        )
    return given or ""


def add_archive_keys(parser: argparse.ArgumentParser, *, master: bool = True) -> None:
    """Add the options by which the data keys of an archive are found.

    master: the master key as well; `add_source` has it.
    """
    if master:
        parser.add_argument(
            "--master-key-file", metavar="FILE", help="needed where it is encrypted"
        )
    parser.add_argument(
        "--former-key-file",
        metavar="FILE",
        action="append",
        default=[],
        help="a master key from before, where a data key is still wrapped by it; may be repeated",
    )
    parser.add_argument(
        "--data-keys",
        metavar="DIR",
        help="copies of the data keys (default: data-keys/ beside the archive)",
    )


def archive_keys(options: argparse.Namespace) -> KeyFiles:
    """The keys that the options name; raises as `key_file`."""
    with loading():
        from memdb.store.archivekeys import KeyFiles

    return KeyFiles(
        key_file(options.master_key_file),
        tuple(key_file(former, "former_key_file") for former in options.former_key_file),
        options.data_keys or "",
    )
