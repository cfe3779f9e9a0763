"""``memdb serve``: a database directory behind an address."""

from __future__ import annotations

import argparse
import os
from typing import Any

from memdb.cli.source import USAGE, key_file
from memdb.config import LOG_LEVELS, load_config
from memdb.errors import InvalidArgument
from memdb.grpclog import silence_grpc
from memdb.interrupts import loading

EXAMPLE = """\
example:
  memdb serve --data ./data --listen 127.0.0.1:7700
  memdb serve --data ./data --listen unix:/run/memdb/socket
  memdb serve --config memdb.toml --listen 0.0.0.0:7700 --tls-cert cert.pem --tls-key key.pem
  memdb serve --data ./data --standby       the same beside it: it serves once the first is gone

Prints one JSON line {"event": "listening", "address": ...} on stdout once it answers; before that, where
it stands by, {"event": "standing_by", ...}.  Logs are JSON lines on stderr.  SIGTERM stops it gracefully.
"""

_FLAGS = {
    "data": ("DIR", "directory of the database; made when there is none"),
    "listen": ("ADDRESS", "HOST:PORT (port 0: any free one) or unix:PATH"),
    "port_file": ("FILE", "write the bound address here once the server answers"),
    "tls_cert": ("FILE", "PEM certificate chain; needed beyond loopback"),
    "tls_key": ("FILE", "PEM private key"),
    "backup_dir": ("DIR", "where clients may have backups written; none unless given"),
    "metrics_file": (
        "FILE",
        "write metrics here every ten seconds, for node_exporter's textfile collector",
    ),
    "grace_s": ("SECONDS", "how long calls may go on after SIGTERM"),
}
MASTER_KEY_HELP = "master key of an encrypted directory; one made with it is encrypted"


def add_to(verbs: Any) -> None:
    """Add the command to the parser."""
    parser = verbs.add_parser(
        "serve",
        allow_abbrev=False,
        help="serve a database over gRPC",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_options(parser)
    parser.set_defaults(run=run, has_log=True)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Flags that override the configuration; what is not given stays."""
    parser.add_argument("--config", metavar="FILE", help="TOML file; see `memdb config print`")
    for name, (metavar, text) in _FLAGS.items():
        parser.add_argument(f"--{name.replace('_', '-')}", dest=name, metavar=metavar, help=text)
    parser.add_argument("--master-key-file", metavar="FILE", help=MASTER_KEY_HELP)
    parser.add_argument("--log-level", choices=LOG_LEVELS, default=None, help="default: info")
    parser.add_argument(
        "--reflection", action="store_true", default=None, help="describe the services to anyone"
    )
    parser.add_argument(
        "--standby",
        action="store_true",
        default=None,
        help="wait while another process has the directory, and serve once it is gone",
    )


def overrides(options: argparse.Namespace) -> dict[str, object]:
    """The flags that were given, by configuration key."""
    given: dict[str, object] = {
        f"server.{name}": value
        for name in (*_FLAGS, "log_level", "reflection", "standby")
        if (value := getattr(options, name)) is not None
    }
    if options.master_key_file is not None:
        given["engine.master_key_file"] = key_file(options.master_key_file)
    return given


def run(options: argparse.Namespace) -> int:
    """Serve until a signal; returns the exit status."""
    config = load_config(options.config, os.environ, overrides(options))
    if not config.server.data:
        raise InvalidArgument(
            "no data directory: give --data DIR, or `data` in the file's section [server]",
            reason=USAGE,
            field="server.data",
        )
    silence_grpc()
    with loading():
        from memdb.server.process import collect_seldom, collecting_later

    # First: what is loaded sets off collections as well.
    collect_seldom()
    with collecting_later():
        # The engine and gRPC are loaded only now: `memdb --help` stays quick.
        with loading():
            from memdb.server.app import serve
            from memdb.server.logs import configure_logging
            from memdb.server.process import keep_memory, raise_file_limit

        keep_memory()
        raise_file_limit()
        configure_logging(config.server.log_level)
        serve(config)
    return 0
