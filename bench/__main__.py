"""``python -m bench WORKLOAD [--json] [--seed N] [--quick]``.

Prints a table; with ``--json`` the last line on stdout is the result as one JSON object, see `bench.report`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from importlib import import_module
from pathlib import Path

from bench.report import Setup, text

WORKLOADS = (
    "ingest",
    "ground",
    "snapshot",
    "restart",
    "memory",
    "churn",
    "users",
    "streams",
    "codecs",
    "tiers",
    "many",
    "late",
    "hybrid",
    "relevance",
    "standing",
)


def main(arguments: list[str] | None = None) -> int:
    """Run one workload; returns the exit status."""
    parser = argparse.ArgumentParser("python -m bench", description=__doc__)
    parser.add_argument("workload", choices=WORKLOADS)
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--seed", type=int, default=7, metavar="N", help="of the data; default: 7")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="small sizes: shows that it runs, its figures mean nothing",
    )
    parser.add_argument(
        "--directory",
        type=Path,
        metavar="DIR",
        help="file system to measure; default: the temporary one",
    )
    options = parser.parse_args(arguments)
    workload = import_module(f"bench.workloads.{options.workload}")
    with tempfile.TemporaryDirectory(prefix="memdb-bench-", dir=options.directory) as folder:
        result = workload.run(Setup(Path(folder), options.seed, options.quick))
    print(text(result))
    if options.json:
        print(result.as_json(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
