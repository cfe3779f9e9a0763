"""Asking one camera-day (5,400 clips, 1536-d, with transcripts) over gRPC, one client, 4 hits.

The limit is what no server on these libraries can beat: p50 of `faiss.IndexFlatIP` over the same vectors plus
p50 of a unary echo that carries a request and an answer of the same sizes to another process and back.  Short
blocks of questions go to every way in random order; a ratio is the median over blocks of the p50s of one block,
so that a slow phase of a shared machine meets both.  Exactness is checked beside it: the hits must be FAISS's.

With ``--device`` a million rows are searched in process instead, see `bench.gpu`.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from typing import Any

import memdb
import memdb_client
from bench import data
from bench.limits import Echo, RawFaiss
from bench.report import Result, Setup, median, percentile, result, time_ms
from bench.server import Server
from memdb.wire.grounding import ground_request, grounding_to_proto

SPACE = "bench-1536"
USER = "bench"
LIMIT = 4
BLOCK = 25


def run(setup: Setup) -> Result:
    """Measure."""
    count, blocks = (300, 1) if setup.quick else (data.DAY_CLIPS, 40)
    vectors = data.vectors(setup.seed, count)
    questions = data.vectors(setup.seed, BLOCK * blocks, stream=1)
    served = setup.folder / "served"
    embedded_folder = setup.folder / "embedded"
    with memdb.open(served) as database:
        database.create_space(SPACE, dim=data.DIM, model="bench")
        camera = database.user(USER).stream("camera", space=SPACE)
        with camera.ingest() as writer:
            for clip in data.clips(setup.seed, vectors):
                writer.send(clip)
    shutil.copytree(served, embedded_folder)  # a data directory is a value

    raw = RawFaiss(vectors)
    hour_ns = data.start_of(count // 4), data.start_of(count // 4 + 225)
    spent: dict[str, list[float]] = {}
    rng = random.Random(setup.seed)
    with (
        memdb.open(embedded_folder) as embedded,
        Server(served) as server,
        memdb_client.connect(server.address) as remote,
    ):
        near, far = embedded.user(USER), remote.user(USER)
        first = near.ground(questions[0], limit=LIMIT)
        request_bytes = ground_request(USER, questions[0], limit=LIMIT).ByteSize()
        answer_bytes = grounding_to_proto(first).ByteSize()
        # A commit has up to 128 clips: a short run may have made fewer than ten revisions.
        as_of = max(first.revision - 10, first.revision // 2)
        with Echo(request_bytes, answer_bytes) as echo:
            ways: dict[str, Callable[[Any], object]] = {
                "faiss": lambda question: raw.search(question, LIMIT),
                "echo": lambda _: echo(),
                "ground": lambda question: far.ground(question, limit=LIMIT),
                "ground_embedded": lambda question: near.ground(question, limit=LIMIT),
                "ground_hour": lambda question: far.ground(
                    question, limit=LIMIT, start_ns=hour_ns[0], end_ns=hour_ns[1]
                ),
                "ground_stream": lambda question: far.ground(
                    question, limit=LIMIT, streams=["camera"]
                ),
                "ground_as_of": lambda question: far.ground(question, limit=LIMIT, as_of=as_of),
            }
            order = list(ways.items())
            for block in range(blocks):
                rng.shuffle(order)
                for name, ask in order:
                    for question in questions[:5]:  # brings this way's data back into the caches
                        ask(question)
                    for question in questions[block * BLOCK : (block + 1) * BLOCK]:
                        spent.setdefault(name, []).append(time_ms(lambda: ask(question)))  # noqa: B023
        agree = sum(
            [hit.clip.seq for hit in far.ground(question, limit=LIMIT).hits]
            == raw.search(question, LIMIT)
            for question in questions[:BLOCK]
        )
    figures = {f"{name}_p50_ms": median(values) for name, values in spent.items()}
    figures |= {
        f"{name}_p99_ms": percentile(values, 99)
        for name, values in spent.items()
        if name.startswith("ground")
    }
    figures["agreement_share"] = agree / BLOCK
    blocks_ms = {
        name: [median(values[begin : begin + BLOCK]) for begin in range(0, len(values), BLOCK)]
        for name, values in spent.items()
    }
    limit_ms = [sum(pair) for pair in zip(blocks_ms["faiss"], blocks_ms["echo"], strict=True)]
    ratios = {
        "ground_p50_vs_limit": _ratio(blocks_ms["ground"], limit_ms),
        "ground_embedded_p50_vs_faiss": _ratio(blocks_ms["ground_embedded"], blocks_ms["faiss"]),
    }
    config: dict[str, object] = {
        "clips": count,
        "dim": data.DIM,
        "limit": LIMIT,
        "questions": BLOCK * blocks,
        "request_bytes": request_bytes,
        "answer_bytes": answer_bytes,
    }
    return result("ground", setup, config, figures, ratios)


def _ratio(ours: list[float], theirs: list[float]) -> float:
    return median([mine / other for mine, other in zip(ours, theirs, strict=True)])
