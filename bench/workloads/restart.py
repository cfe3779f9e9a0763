"""From the start of the process to the first grounded answer over gRPC, after SIGKILL.

20,000 clips of 1536-d with transcripts and without short-term memory, which a start does not read
(`restart_with_short_memory_s`: 2,000 clips that have it).  The page cache is warm, as after a crash of the
process; after a crash of the machine add reading the vectors and records from the disk.  `takeover_s`: the same with a
server that stands by, from SIGKILL of the one that serves to the first answer of the other; `takeover_noticed_s`: to
that of a client of the first, whose gRPC waits for a tenth of a second before it connects again.
"""

from __future__ import annotations

import time
from pathlib import Path

import memdb
import memdb_client
from bench import data
from bench.peers.process import free_port
from bench.report import Result, Setup, median, result
from bench.server import Server

SPACE = "bench-1536"
USER = "bench"


def run(setup: Setup) -> Result:
    """Measure."""
    count, full_count, repeats = (200, 20, 1) if setup.quick else (20_000, 2_000, 5)
    question = data.vectors(setup.seed, 1, stream=1)[0]
    fill(setup.folder / "data", setup.seed, count)
    fill(setup.folder / "full", setup.seed, full_count, short_memory=True)
    started, answered = _restarts(setup.folder / "data", question, repeats)
    _, answered_full = _restarts(setup.folder / "full", question, repeats)
    taken_over, noticed = _takeovers(setup.folder / "data", question, repeats)
    figures = {
        "restart_s": median(answered),
        "restart_max_s": max(answered),
        "restart_listening_s": median(started),
        "restart_with_short_memory_s": median(answered_full),
        "takeover_s": median(taken_over),
        "takeover_max_s": max(taken_over),
        "takeover_noticed_s": median(noticed),
    }
    config: dict[str, object] = {
        "clips": count,
        "dim": data.DIM,
        "short_memory": "none",
        "clips_with_short_memory": full_count,
        "repeats": repeats,
    }
    return result("restart", setup, config, figures)


def fill(folder: Path, seed: int, count: int, *, short_memory: bool = False) -> None:
    """Make a data directory with ``count`` clips of one camera."""
    tensors = data.short_memories(seed, 64) if short_memory else None
    with memdb.open(folder) as database:
        database.create_space(SPACE, dim=data.DIM, model="bench")
        camera = database.user(USER).stream("camera", space=SPACE)
        clips = list(data.clips(seed, data.vectors(seed, count), short_memory=tensors))
        for begin in range(0, count, 64):
            camera.write_many(clips[begin : begin + 64])


def _restarts(
    folder: Path, question: data.Vectors, repeats: int
) -> tuple[list[float], list[float]]:
    """Seconds until the server listens, and until it has answered, of each restart."""
    _answer(folder, question)
    timings = [_answer(folder, question) for _ in range(repeats)]
    return [timing[0] for timing in timings], [timing[1] for timing in timings]


def _takeovers(
    folder: Path, question: data.Vectors, repeats: int
) -> tuple[list[float], list[float]]:
    """Seconds from each SIGKILL to the first answer of the server that stood by, to who connects to it, and to a client
    of the other one that goes on asking.
    """
    address = f"127.0.0.1:{free_port()}"
    serving = Server(folder, address)
    first, noticed = [], []
    try:
        for number in range(2 * repeats):
            waiting = Server(folder, address, standby=True)
            with memdb_client.connect(address) as before:
                assert before.user(USER).ground(question).hits
                begin = time.perf_counter()
                serving.kill()
                serving = waiting
                if number % 2:
                    assert before.user(USER).ground(question).hits
                    noticed.append(time.perf_counter() - begin)
                    continue
                serving.listening()
                with memdb_client.connect(address) as remote:
                    assert remote.user(USER).ground(question).hits
                    first.append(time.perf_counter() - begin)
    finally:
        serving.kill()
    return first, noticed


def _answer(folder: Path, question: data.Vectors) -> tuple[float, float]:
    begin = time.perf_counter()
    server = Server(folder)
    try:
        started_s = time.perf_counter() - begin
        with memdb_client.connect(server.address) as remote:
            assert remote.user(USER).ground(question).hits
            return started_s, time.perf_counter() - begin
    finally:
        server.kill()
