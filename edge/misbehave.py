"""A client that behaves badly: calls that are late, cancelled and read in part.  Beside `edge/drive.py`.

python edge/misbehave.py ADDRESS SECONDS SEED
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import AsyncIterator
from typing import Any, Final

import grpc
import numpy as np
from odd_clips import odd_message

from memdb.v1 import grounding_service_pb2 as pb
from memdb.v1 import types_pb2

DIM: Final = 64
GROUND: Final = "/memdb.v1.GroundingService/Ground"
GROUND_MANY: Final = "/memdb.v1.GroundingService/GroundMany"


def question(user: str) -> bytes:
    feature = types_pb2.Vector(f32=np.ones(DIM, np.float32).tobytes())
    return pb.GroundRequest(user=user, question_feature=feature).SerializeToString()


def questions(user: str, count: int) -> bytes:
    features = types_pb2.Matrix(rows=count, dim=DIM, f32=np.ones((count, DIM), "<f4").tobytes())
    return pb.GroundManyRequest(user=user, question_features=features).SerializeToString()


async def connections(address: str, until: float, rng: random.Random) -> None:
    while time.monotonic() < until:
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.http2.lookahead_bytes", 1024)]
        async with grpc.aio.insecure_channel(address, options=options) as channel:
            calls = [misbehave(channel, rng) for _ in range(rng.randrange(300))]
            await asyncio.gather(*calls, return_exceptions=True)


async def now_and_then(messages: list[bytes], rng: random.Random) -> AsyncIterator[bytes]:
    """Some at once, some after a while."""
    for message in messages:
        if rng.random() < 0.5:
            await asyncio.sleep(rng.random() / 100)
        yield message


async def misbehave(channel: grpc.aio.Channel, rng: random.Random) -> None:
    """A call that ends as it may."""
    await asyncio.sleep(rng.random() / 10)
    timeout = rng.choice([0, 0.001, 0.003, 0.005, 1, 5])
    data = rng.choice([b"", b"w", b"x", b"a", b"f", b"x" * 70_000])
    user = f"u{rng.randrange(5)}"
    one, many = question(user), questions(user, rng.choice([2, 20, 200]))
    call: Any = rng.choice(
        [
            lambda: channel.unary_unary("/s/Echo")(data, timeout=timeout),
            lambda: channel.unary_unary(GROUND)(one, timeout=timeout),
            lambda: channel.unary_unary(GROUND)(one, timeout=timeout),
            lambda: channel.unary_unary(GROUND_MANY)(many, timeout=timeout),
            lambda: channel.unary_unary("/s/Nothing")(data, timeout=timeout),
            lambda: channel.unary_stream("/s/Answers")(data, timeout=timeout),
            lambda: channel.stream_stream("/s/BothWays")([data] * 9, timeout=timeout),
            lambda: channel.stream_stream("/s/Clips")(
                now_and_then([odd_message(rng) for _ in range(9)], rng), timeout=timeout
            ),
        ]
    )()
    if rng.random() < 0.3:
        await asyncio.sleep(rng.random() / 100)
        call.cancel()
    elif isinstance(call, grpc.aio.UnaryUnaryCall):
        await call
    else:
        async for _ in call:
            if rng.random() < 0.05:
                break
            if rng.random() < 0.1:
                await asyncio.sleep(0.01)
        call.cancel()


if __name__ == "__main__":
    asyncio.run(
        connections(sys.argv[1], time.monotonic() + float(sys.argv[2]), random.Random(sys.argv[3]))
    )
