"""Our own side, embedded and over gRPC alike: records as clips of their users' streams, each with its vector."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Final

import numpy as np

from bench.peers.peer import Peer
from bench.peers.rows import FIRST_S, LIMIT, MANY, STEP_S, STREAMS, TENSOR_SHAPE, Question, Rows
from memdb import Clip

SPACE = "peers"
NS = 1_000_000_000
BIG_USER = "big"
LIGHT: Final[dict[str, Any]] = {"with_global_memory": False, "with_keyframes": False}
"""As the others answer: what is known of a record, without its vector."""


class MemdbClips(Peer):
    """What both ways share; a connection is a database and the users asked so far."""

    acknowledges = "one synced LMDB transaction for each batch"
    synced = True
    big: ClassVar[bool] = False
    """Whether one user has everything; or the thousand their own."""

    def database(self) -> Any:
        """An open database or a client of one."""
        raise NotImplementedError

    def create(self) -> Any:
        connection = self.connect()
        connection[0].create_space(SPACE, dim=1536, model="bench")
        return connection

    def connect(self) -> Any:
        return self.database(), {}

    def disconnect(self, connection: Any) -> None:
        connection[0].close()

    def batches(self, rows: Rows) -> Iterator[Rows]:
        """A batch is one stream's, as a camera writes it."""
        if self.big or rows.tensors is not None:
            yield from super().batches(rows)
            return
        streams = rows.users * STREAMS + rows.streams
        order = np.argsort(streams, kind="stable")
        ends = np.flatnonzero(np.diff(streams[order])) + 1
        for which in np.split(order, ends):
            yield rows.taken(which)

    def insert(self, connection: Any, rows: Rows) -> None:
        if self.big or rows.tensors is not None:
            user, stream = BIG_USER, f"camera-{rows.streams[0]}" if len(rows) == 1 else "camera"
        else:
            user, stream = _user(int(rows.users[0])), f"camera-{rows.streams[0]}"
        camera = self._user(connection, user).stream(stream, space=SPACE)
        known = connection[1].setdefault("seq", {})
        first = known.get((user, stream), 0)
        known[user, stream] = first + len(rows)
        clips = []
        for index, start in enumerate(rows.starts.tolist()):
            tensor = None
            if rows.tensors is not None:
                tensor = np.frombuffer(rows.tensors[index], np.float16).reshape(TENSOR_SHAPE)
            clips.append(
                Clip(
                    seq=first + index,
                    start_ns=start * NS,
                    end_ns=(start + STEP_S) * NS,
                    global_memory=np.asarray(rows.vectors[index]),
                    short_memory=tensor,
                )
            )
        camera.write_many(clips)

    def ask(self, connection: Any, question: Question) -> list[int]:
        user = self._user(connection, self.owner(question))
        if question.kind == "many":
            answers = user.ground_many(question.vector, limit=LIMIT, **LIGHT)
            return [_row(hit) for hit in answers[0].hits]
        begin, end = None, None
        if question.kind == "user_time":
            begin, end = question.begin * NS, question.end * NS
        answer = user.ground(question.vector, limit=LIMIT, start_ns=begin, end_ns=end, **LIGHT)
        return [_row(hit) for hit in answer.hits]

    def owner(self, question: Question) -> str:
        """The user whom a question is about."""
        return BIG_USER if self.big else _user(question.user)

    def asked_at_once(self, kind: str) -> int:
        return MANY if kind == "many" else 1

    def takes_many(self, connection: Any) -> bool:
        return hasattr(connection[0].user(BIG_USER), "ground_many")

    def present(self, connection: Any, rows: Rows) -> int:
        name = BIG_USER if self.big or rows.tensors is not None else _user(int(rows.users[0]))
        user = self._user(connection, name)
        wanted = set(rows.ids.tolist())
        begin = (FIRST_S + STEP_S * min(wanted)) * NS
        end = (FIRST_S + STEP_S * (max(wanted) + 1)) * NS
        found: set[int] = set()
        page = user.clips(start_ns=begin, end_ns=end)
        while page:
            found |= {_row_of(clip) for clip in page}
            page = user.clips(start_ns=begin, end_ns=end, after=page[-1].id)
        return len(found & wanted)

    def tensor(self, connection: Any, row_id: int) -> bytes:
        known = connection[1].setdefault("ids", {})
        user = self._user(connection, BIG_USER)
        if row_id not in known:
            begin = (FIRST_S + STEP_S * row_id) * NS
            (clip,) = user.clips(start_ns=begin, end_ns=begin + 1)
            known[row_id] = clip.id
        (tensor,) = user.short_memory([known[row_id]])
        return bytes(tensor.astype(np.float16, copy=False).tobytes())

    def _user(self, connection: Any, name: str) -> Any:
        database, users = connection
        if name not in users:
            users[name] = database.user(name)
        return users[name]


def _user(number: int) -> str:
    return f"user-{number}"


def _row(hit: Any) -> int:
    return _row_of(hit.clip)


def _row_of(clip: Any) -> int:
    return (int(clip.start_ns) // NS - FIRST_S) // STEP_S
