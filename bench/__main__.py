"""``python -m bench WORKLOAD [--json] [--seed N] [--quick]``.

Prints a table; with ``--json`` the last line on stdout is the result as one JSON object, see `bench.report`.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from importlib import import_module
from pathlib import Path

from bench.peers.registry import PEERS
from bench.report import Setup, text
from memdb.errors import FailedPrecondition

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
    "quality",
    "standing",
    "peers",
)


def main(arguments: list[str] | None = None) -> int:
    """Run one workload; returns the exit status."""
    # What is started here takes its modules as whoever has installed them does: compiled.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
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
    parser.add_argument(
        "--peers",
        metavar="A,B,C",
        help="peers: which other engines; default: all, and '' for none",
    )
    parser.add_argument("--vectors", type=int, metavar="N", help="peers: default 100,000")
    parser.add_argument(
        "--report",
        type=Path,
        metavar="DIR",
        help="peers: write the result, table and chart there; ground --device: after each way",
    )
    parser.add_argument(
        "--rows",
        type=int,
        metavar="N",
        help="tiers: by lists alone, of so many rows; ground --device: default 1,000,000",
    )
    parser.add_argument(
        "--seeds", metavar="N,N", help="quality: days of several seeds; default: of --seed alone"
    )
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "gpu"),
        help="ground: search many rows in process, on the CPU and, but for `cpu`, on a GPU",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        metavar="S",
        help="ground --device: begin nothing after so many; default: take as long as it takes",
    )
    options = parser.parse_args(arguments)
    seeds = None if options.seeds is None else tuple(map(int, options.seeds.split(",")))
    peers = None if options.peers is None else tuple(filter(None, options.peers.split(",")))
    unknown = sorted(set(peers or ()) - set(PEERS))
    if unknown:
        parser.error(f"--peers: nobody knows {', '.join(unknown)}; there are {', '.join(PEERS)}")
    # By a device `ground` needs no server, and nothing but numpy and FAISS.
    is_by_device = options.workload == "ground" and options.device is not None
    workload = import_module("bench.gpu" if is_by_device else f"bench.workloads.{options.workload}")
    with tempfile.TemporaryDirectory(prefix="memdb-bench-", dir=options.directory) as folder:
        setup = Setup(
            Path(folder),
            options.seed,
            options.quick,
            peers,
            options.vectors,
            options.report,
            options.rows,
            seeds,
            options.device,
            options.seconds,
        )
        try:
            result = workload.run(setup)
        except FailedPrecondition as error:
            if error.reason != "NO_GPU":
                raise
            parser.error(f"--device: {error}")
    print(text(result))
    if options.json:
        print(result.as_json(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
