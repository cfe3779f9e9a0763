"""``memdb rotate-master-key``: replace the master key of an encrypted directory."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import Any

from memdb.interrupts import loading

EXAMPLE = """\
example:
  (umask 077; openssl rand -hex 32 > new.key)
  memdb rotate-master-key ./data --old-key-file old.key --new-key-file new.key --data-keys backups/data-keys

Wraps every data key anew; values are not touched.  Cut short, the same command goes on where it
stopped; until it has ended the directory does not open.  No server may have the directory open.

With --data-keys the copies of data keys beside archives are wrapped anew as well.  Without it the next
backup does that, but for keys that the directory has no more: archives from before an upgrade that made
new data keys want the old master key for good.

Prints one JSON object, and says on stderr where the new key was the directory's already.  "lost" names the
directories of users whose data keys neither master key opens: they are left as they are, and the rotation
is complete without them; the exit status is 1 then.
"""


def add_to(verbs: Any) -> None:
    """Add the command to the parser."""
    parser = verbs.add_parser(
        "rotate-master-key",
        allow_abbrev=False,
        help="replace the master key of an encrypted directory",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("data", metavar="DIR", help="directory of the database")
    for name in ("old", "new"):
        parser.add_argument(
            f"--{name}-key-file", metavar="FILE", required=True, help=f"the {name} master key"
        )
    parser.add_argument(
        "--data-keys",
        metavar="DIR",
        action="append",
        default=[],
        help="wrap the copies in DIR anew as well, the folder data-keys beside archives; may be repeated",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Rotate and report; returns the exit status."""
    with loading():
        from memdb.store.masterkey import read_master_key
        from memdb.store.rotation import rotate_master_key

    done = rotate_master_key(
        options.data,
        read_master_key(options.old_key_file, "old_key_file"),
        read_master_key(options.new_key_file, "new_key_file"),
        options.data_keys,
    )
    json.dump(asdict(done), sys.stdout)
    print()
    if not (done.wrapped_anew or done.copies_wrapped_anew or done.lost):
        # Or whoever gave the two the wrong way round would take it for done.
        already = f"{options.new_key_file} has the master key of {options.data} already"
        print(f"memdb: nothing was to be done: {already}", file=sys.stderr)
    return 1 if done.lost else 0
