"""``memdb upgrade``: make a directory anew, in this release's format, encrypted or plain."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import Any

from memdb.interrupts import loading

EXAMPLE = """\
example:
  memdb upgrade ./data
  memdb upgrade ./data --encrypt-with new.key
  memdb upgrade ./data --master-key-file old.key --encrypt-with new.key
  memdb upgrade ./data --master-key-file old.key --decrypt

Copies every entry into new files, under new data keys where they are encrypted, and puts them in the
place of the old ones at once.  Needs as much room again meanwhile.  Cut short, the same command goes on;
until it has ended the directory is what it was.  No server may have it open.  Prints one JSON object.
"""


def add_to(verbs: Any) -> None:
    """Add the command to the parser."""
    parser = verbs.add_parser(
        "upgrade",
        allow_abbrev=False,
        help="make a directory anew: in this release's format, encrypted, or plain",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("data", metavar="DIR", help="directory of the database")
    parser.add_argument("--master-key-file", metavar="FILE", help="its key, where it is encrypted")
    into = parser.add_mutually_exclusive_group()
    into.add_argument(
        "--encrypt-with", metavar="FILE", help="the master key from now on (default: as it was)"
    )
    into.add_argument("--decrypt", action="store_true", help="nothing is encrypted from now on")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Upgrade and report; returns the exit status."""
    with loading():
        from memdb.store.masterkey import read_master_key
        from memdb.store.upgrade import upgrade

    old = new = None
    if options.master_key_file is not None:
        old = new = read_master_key(options.master_key_file, "master_key_file")
    if options.encrypt_with is not None:
        new = read_master_key(options.encrypt_with, "encrypt_with")
    elif options.decrypt:
        new = None
    report = upgrade(options.data, master_key=old, new_master_key=new)
    json.dump(asdict(report), sys.stdout)
    print()
    return 0
