"""Forks commands of ours from a process that has loaded what they need, torch and gRPC included: a start costs seconds
of processor, most of it loading.

A message is ``{"program": ..., "arguments": [...], "environment": {...}, "folder": ...}`` with two file descriptors:
standard output and standard error.
"""

from __future__ import annotations

import os
from functools import cache
from importlib import import_module
from typing import Any, Final

from memdb import failpoints, native
from memdb.grpclog import silence_grpc
from tests.forked.life import lived
from tests.forked.loading import load
from tests.forked.nursery import fork_for_each

CLIENT: Final = ("memdb_client", "grpc._utilities", "perception.reach")
TEXT: Final = ("perception.encoders.text", "perception.encoders.minilm")
AGENT: Final = (
    *CLIENT,
    *("perception.agent", "perception.allocator", "perception.patience", "perception.stopping"),
    *("perception.ack_log", "perception.arguments", "perception.settings"),
)
OF_THE_EDGE: Final = "memdb.server.native_edge", "memdb.server.listed_shelf", "memdb.server.shelf"
NEEDED: Final = {
    "bench.__main__": (
        *(*CLIENT[:2], *TEXT, "bench.report", "bench.server", "bench.limits"),
        *("memdb.engine.database", "psutil"),
    ),
    "memdb.cli.main": (
        *("memdb.cli.config", "memdb.cli.source", "memdb.engine.database", "memdb.engine.restore"),
        *("memdb.server.app", "memdb.server.logs", "memdb.server.process", "memdb.store.cipher"),
        *CLIENT[:2],
        *(OF_THE_EDGE if native.is_installed() else ()),
    ),
    "perception.cli": (
        *AGENT,
        *TEXT,
        *("perception.audio.asr", "perception.audio.vad", "perception.encoders.conse"),
    ),
    "perception.import_ixc": (*CLIENT, "torch"),
    "reasoner.cli": (
        *CLIENT,
        *TEXT,
        *("reasoner.arguments", "reasoner.question_space", "reasoner.reasoner", "reasoner.table"),
    ),
    "tests.e2e.seeing_by_hashes": AGENT,
    "tests.e2e.slow_disk": (),
}
"""By program: what it loads when it is asked for something, beside what its module loads."""


def main() -> None:
    silence_grpc()  # before it is loaded
    fork_for_each(_live, 2, lambda asked: _load(asked["program"]))


@cache
def _load(program: str) -> None:
    load(program, *NEEDED[program])


def _live(asked: dict[str, Any], out: int, err: int) -> int:
    def main() -> int:
        # Read from the environment when it was loaded, before the fork.
        failpoints.arm(os.environ.get("MEMDB_FAILPOINTS", ""))
        status: int = import_module(asked["program"]).main()
        return status

    return lived(main, asked, out, err)


if __name__ == "__main__":
    main()
