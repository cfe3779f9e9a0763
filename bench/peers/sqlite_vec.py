"""sqlite-vec in the process: exact scan, owner and time as metadata columns."""

from __future__ import annotations

from typing import Any

import pysqlite3
import sqlite_vec

from bench.peers.peer import Peer
from bench.peers.rows import Question, Rows


class SqliteVec(Peer):
    """A virtual table of vectors beside a plain one of tensors."""

    title = "sqlite-vec"
    acknowledges = "write-ahead log synced (synchronous FULL)"
    synced = True

    def create(self) -> Any:
        connection = self.connect()
        connection.execute(
            "CREATE VIRTUAL TABLE v USING vec0(id INTEGER PRIMARY KEY, usr INTEGER, start INTEGER,"
            " v FLOAT[1536] distance_metric=cosine)"
        )
        connection.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, stream INT, tensor BLOB)")
        return connection

    def connect(self) -> Any:
        connection = pysqlite3.connect(
            str(self.folder / "t.db"), check_same_thread=False, isolation_level=None
        )
        connection.enable_load_extension(True)
        sqlite_vec.load(connection)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    def disconnect(self, connection: Any) -> None:
        connection.close()

    def insert(self, connection: Any, rows: Rows) -> None:
        ids, users, starts = rows.ids.tolist(), rows.users.tolist(), rows.starts.tolist()
        tensors = [None] * len(rows) if rows.tensors is None else rows.tensors
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO v(id, usr, start, v) VALUES (?, ?, ?, ?)",
            zip(ids, users, starts, [row.tobytes() for row in rows.vectors], strict=True),
        )
        connection.executemany(
            "INSERT INTO t VALUES (?, ?, ?)",
            zip(ids, rows.streams.tolist(), tensors, strict=True),
        )
        connection.execute("COMMIT")

    def ask(self, connection: Any, question: Question) -> list[int]:
        values: list[object] = [question.vector.tobytes()]
        which = ""
        if question.kind != "big":
            which += " AND usr = ?"
            values.append(question.user)
        if question.kind == "user_time":
            which += " AND start >= ? AND start < ?"
            values += [question.begin, question.end]
        found = connection.execute(f"SELECT id FROM v WHERE v MATCH ? AND k = 10{which}", values)
        return [row[0] for row in found.fetchall()]

    def present(self, connection: Any, rows: Rows) -> int:
        ids = rows.ids.tolist()
        listed = ", ".join(str(row_id) for row_id in ids)
        found = connection.execute(f"SELECT count(*) FROM v WHERE id IN ({listed})")
        return int(found.fetchone()[0])

    def tensor(self, connection: Any, row_id: int) -> bytes:
        found = connection.execute("SELECT tensor FROM t WHERE id = ?", (row_id,))
        value: bytes = found.fetchone()[0]
        return value
