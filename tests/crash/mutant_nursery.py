"""Forks pytest, one for each mutant, from a process that has loaded it and the libraries, and nothing of ours: that is
half of what a run of one test takes.

Messages as of `tests.forked.command_nursery`; its arguments are pytest's.
"""

from __future__ import annotations

import gc
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import pytest

from tests.forked.life import lived
from tests.forked.nursery import fork_for_each

LIBRARIES: Final = """
import numpy, numpy.ma, numpy.random
import faiss, lmdb, msgspec, xxhash, zstandard, Stemmer
import hypothesis, hypothesis.extra.numpy, hypothesis.stateful, hypothesis.strategies
import grpc, grpc.aio, grpc_health.v1.health, google.rpc.status_pb2, psutil

def test_nothing():
    pass
"""
"""A test that loads them: pytest has rewritten by then what it wants to rewrite of them."""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "test_libraries.py"
        path.write_text(LIBRARIES)
        status = pytest.main(
            ["-q", "-p", "no:cacheprovider", "-W", "ignore", "-c", "pyproject.toml", str(path)]
        )
    assert status == pytest.ExitCode.OK
    assert not {"memdb", "memdb_client"} & set(sys.modules), "each has its own"
    gc.collect()
    gc.freeze()
    fork_for_each(_live, 2)


def _live(asked: dict[str, Any], out: int, err: int) -> int:
    return lived(lambda: int(pytest.main(asked["arguments"])), asked, out, err)


if __name__ == "__main__":
    main()
