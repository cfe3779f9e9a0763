"""Plain questions to users of few clips, answered by the native edge without Python.

A user that is asked again and again between two commits is laid ready in the background
(`memdb.engine.prepared`), its clips already as bytes; the edge's own threads find, score and answer then
(`edge/src/shelf.cc`).  What a question has beyond the plainest is Python's as ever, and the answers are the same to the
last bit: FAISS's and numpy's own functions are called, and where the rest does not come out as Python's
here (`memdb.engine.native`), there is no shelf.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

import memdb_edge
import numpy as np

from memdb.engine.database import EmbeddedDatabase
from memdb.engine.hydrate import Parts
from memdb.engine.listed import Listed
from memdb.engine.native import arithmetic
from memdb.engine.prepared import Prepared
from memdb.eventlog import event_log
from memdb.server.listed_shelf import CLIP_BYTES_MAX, LentLists, lend_lists
from memdb.server.metrics import Counter, Gauge
from memdb.types.clip import StoredClip
from memdb.v1 import grounding_service_pb2 as pb
from memdb.wire.clips import stored_clip_to_proto

BYTES_MAX: Final = 64 * 1024 * 1024
"""Of what lies ready, of all users together, beside their vectors; the oldest make room."""
ASKED_MIN: Final = 4
"""Questions at one revision after which a user is laid ready; then after twice as many, and so on."""
MESSAGE_BYTES_MIN: Final = 8 * 1024 * 1024
"""Of `ServerConfig.message_bytes_max`: answers of a shelf, to many questions too, have at most half of it, and so are
never too large."""
COUNTED_MAX: Final = 4096
"""Users whose questions are counted."""

NOTE_S: Final = 1.0

log = event_log("memdb.server")


class Shelf:
    """For any threads."""

    def __init__(self, database: EmbeddedDatabase, inner_products: int) -> None:
        self._database = database
        self.native = memdb_edge.Shelf(inner_products, np.exp, BYTES_MAX)
        self._asked: dict[str, tuple[int, int]] = {}
        self._clip_room = memdb_edge.ClipRoom(CLIP_BYTES_MAX)
        self._lists: dict[tuple[str, Parts], LentLists] = {}
        """Large users that lie ready."""
        database.when_erased(self._was_erased)

    def was_asked(self, user: str, parts: Parts, revision: int) -> None:
        """Python answered a question, or many, by clips with these parts, at a revision."""
        lent = self._lists.get((user, parts))
        if lent is not None:
            lent.note_use()
            if lent.is_current:
                others = lent.fetch_missing()
                if others:
                    self._database.fetch(lent.listed, others, lent.put_clip)
            else:
                self._renew(user, parts)
            return
        at, count = self._asked.get(user, (revision, 0))
        count = 1 if at != revision else count + 1
        if len(self._asked) >= COUNTED_MAX and user not in self._asked:
            self._asked.clear()
        self._asked[user] = revision, count
        if count >= ASKED_MIN and count & (count - 1) == 0:
            self._database.prepare(user, parts, self)

    def _was_erased(self, user: str) -> None:
        self._asked.pop(user, None)

    def packed(self, prepared: Prepared) -> list[bytes]:
        """See `memdb.engine.prepared.Shelf`."""
        return [b"" if clip is None else _packed(clip) for clip in prepared.clips]

    def put(self, prepared: Prepared, clips: list[bytes]) -> Callable[[], None]:
        """See `memdb.engine.prepared.Shelf`."""
        codes = prepared.codes
        its = (None, None) if codes is None else (codes.codes, codes.measures)
        tail = pb.GroundResponse(revision=prepared.revision, fallback="none")
        self.native.put(
            prepared.user,
            prepared.parts.global_memory,
            prepared.parts.keyframes,
            prepared.dim,
            prepared.whole,
            prepared.start_ns,
            prepared.end_ns,
            prepared.alive,
            prepared.stream,
            [(one.name, one.mean, one.spread, one.things) for one in prepared.streams],
            clips,
            tail.SerializeToString(deterministic=True),
            *its,
        )
        return partial(self._withdraw, prepared.user)

    def put_listed(self, listed: Listed) -> Callable[[], None]:
        """See `memdb.engine.prepared.Shelf`."""
        key = listed.user, listed.parts
        self._lists[key] = lend_lists(self.native, self._clip_room, listed)
        return partial(self._withdraw, listed.user)

    def _withdraw(self, user: str) -> None:
        self.native.withdraw(user)
        # Else one that was asked a thousand times before would be asked as often again before it lies ready anew.
        self._asked.pop(user, None)
        # Of a large one: it holds the user's arrays.
        for key in list(self._lists):
            if key[0] == user:
                self._lists.pop(key, None)

    def _renew(self, user: str, parts: Parts) -> None:
        """Lists of a large user are others now, or were found to tell too little."""
        self._withdraw(user)
        self._database.prepare(user, parts, self)

    def lines(self) -> Iterator[str]:
        """See `memdb.server.metrics.Metric`."""
        answered = Counter("memdb_ready_answers_total", "Questions answered without Python.")
        answered.add(self.native.answered)
        yield from answered.lines()
        for name, told, value in (
            ("ready_users", "Users that lie ready for it.", self.native.users),
            (
                "ready_bytes",
                "What lies ready of them, beside vectors.",
                self.native.bytes + self._clip_room.bytes,
            ),
        ):
            gauge = Gauge(f"memdb_{name}", told)
            gauge.value = value
            yield from gauge.lines()

    async def keep_noting(self) -> None:
        """Note who was answered, over and over."""
        while True:
            await asyncio.sleep(NOTE_S)
            try:
                self.note_use()
            except (
                Exception
            ):  # or users that are asked were closed to make room, and nobody would know
                log.exception("who was answered could not be noted")

    def note_use(self) -> None:
        """Have the users that were answered since count as used lately."""
        for user in self.native.take_asked():
            self._database.touch(user)
        for (user, parts), lent in list(self._lists.items()):
            lent.note_use()
            if not lent.native.is_there:
                # Others needed its room, and it would need theirs, over and over: it comes back when it is asked.
                self._lists.pop((user, parts), None)
            elif not lent.is_current:
                self._renew(user, parts)

    def close(self) -> None:
        """Answer nothing more."""
        self.native.close()


def shelf_of(database: EmbeddedDatabase, message_bytes_max: int) -> Shelf | None:
    """None where answers would not be Python's to the last bit, or too large."""
    known = arithmetic()
    if known is None or message_bytes_max < MESSAGE_BYTES_MIN:
        return None
    return Shelf(database, known.inner_products)


def _packed(clip: StoredClip) -> bytes:
    return stored_clip_to_proto(clip).SerializeToString(deterministic=True)
