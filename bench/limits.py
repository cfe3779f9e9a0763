"""What the libraries give without us: an LMDB commit, a FAISS search, a gRPC echo.

The echo server is a process of its own (``python -m bench.limits``), as `memdb serve` is: asyncio, bytes in
and bytes out.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import faiss
import grpc
import lmdb
import numpy as np

from bench.data import Vectors
from memdb.types.limits import MESSAGE_BYTES_MAX

_OPTIONS = [
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
]
_METHOD = "/bench.Echo/Echo"


class RawLmdb:
    """An environment with default sync and one table, written and read as plainly as can be."""

    def __init__(self, folder: Path) -> None:
        self._env = lmdb.open(str(folder), map_size=8 << 30)
        self._next = 0

    def commit(self, clips: Sequence[tuple[bytes, ...]]) -> None:
        """Store the values of some clips, each under an ascending 16-byte key, in one synced transaction."""
        with self._env.begin(write=True) as txn:
            for values in clips:
                for value in values:
                    txn.put(self._next.to_bytes(16, "big"), value)
                    self._next += 1

    def values(self, numbers: Sequence[int]) -> list[bytes]:
        """Copies of values, by the order in which they were stored."""
        with self._env.begin(buffers=True) as txn:
            return [bytes(txn.get(number.to_bytes(16, "big"), b"")) for number in numbers]

    def close(self) -> None:
        """Close the environment."""
        self._env.close()


class RawFaiss:
    """`faiss.IndexFlatIP` over the same vectors, float32, unit length."""

    def __init__(self, vectors: Vectors) -> None:
        self._index = faiss.IndexFlatIP(vectors.shape[1])
        for begin in range(0, len(vectors), 4096):
            rows = vectors[begin : begin + 4096].astype(np.float32)
            self._index.add(rows / np.linalg.norm(rows, axis=1, keepdims=True))

    def search(self, question: Vectors, limit: int) -> list[int]:
        """Rows of the best."""
        query = question.astype(np.float32)[np.newaxis]
        query /= np.linalg.norm(query)
        _, rows = self._index.search(query, limit)
        return [int(row) for row in rows[0]]


class Echo:
    """A unary call that carries ``request_bytes`` there and ``answer_bytes`` back."""

    def __init__(self, request_bytes: int, answer_bytes: int) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-m", "bench.limits", str(answer_bytes)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._server.stdout is not None
        self._address = f"127.0.0.1:{int(self._server.stdout.readline())}"
        self._channel = grpc.insecure_channel(self._address, options=_OPTIONS)
        self._call: Any = self._channel.unary_unary(_METHOD)
        self._request = b"\x5a" * request_bytes

    def __call__(self) -> bytes:
        """One round trip."""
        answer: bytes = self._call(self._request, wait_for_ready=True)
        return answer

    @property
    def pid(self) -> int:
        """Of the server."""
        return self._server.pid

    @asynccontextmanager
    async def asking(self) -> AsyncIterator[Callable[[], Awaitable[bytes]]]:
        """One round trip by grpc.aio."""
        async with grpc.aio.insecure_channel(self._address, options=_OPTIONS) as channel:
            call: Any = channel.unary_unary(_METHOD)
            yield lambda: call(self._request, wait_for_ready=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._channel.close()
        self._server.kill()
        self._server.communicate()


async def _serve(answer_bytes: int) -> None:
    answer = b"\xa5" * answer_bytes

    async def echo(request: bytes, context: object) -> bytes:
        return answer

    server = grpc.aio.server(options=_OPTIONS)
    handlers: dict[str, Any] = {"Echo": grpc.unary_unary_rpc_method_handler(echo)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Echo", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
