"""Resident memory of a server that holds N vectors open.

``overhead_mb`` is all that is resident beside the vectors as the index needs them (float32).  That includes
pages of the store which are mapped and only cached: the kernel takes them back when it wants them.
``overhead_anonymous_mb`` leaves those and the libraries' code out.
"""

from __future__ import annotations

import memdb_client
from bench import data
from bench.report import Result, Setup, result
from bench.server import Server
from bench.workloads.restart import USER, fill

_QUESTIONS = 200


def run(setup: Setup) -> Result:
    """Measure."""
    count = 200 if setup.quick else 20_000
    fill(setup.folder / "data", setup.seed, count)
    questions = data.vectors(setup.seed, _QUESTIONS, stream=1)
    with (
        Server(setup.folder / "data") as server,
        memdb_client.connect(server.address) as remote,
    ):
        idle_mb, _ = server.memory_mb()
        user = remote.user(USER)
        user.ground(questions[0])
        opened_mb, _ = server.memory_mb()
        for question in questions:
            user.ground(question)
        rss_mb, anonymous_mb = server.memory_mb()
    vectors_mb = count * data.DIM * 4 / 1e6
    figures = {
        "rss_mb": rss_mb,
        "vectors_mb": vectors_mb,
        "overhead_mb": rss_mb - vectors_mb,
        "overhead_anonymous_mb": anonymous_mb - vectors_mb,
        "rss_idle_mb": idle_mb,
        "rss_after_open_mb": opened_mb,
    }
    return result("memory", setup, {"clips": count, "dim": data.DIM, "users": 1}, figures)
