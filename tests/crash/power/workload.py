"""A program that does everything an embedded database can be asked to, and marks before and after each
step what that step changes; run under `recorder.c`.

A mark is a line of JSON: ``{"next": {name: value or null}, "whole": bool}`` before a step, in the
words of `tests.crash.power.observed`, and ``{"done": true, "markers": [...], "resend": [...]}`` once memdb has
acknowledged it.  markers: texts of which no byte may be in any file from then on.  resend: (user,
stream, seq) of a clip that, sent again, must be a duplicate.  ``{"archived": NAME}`` tells of a backup that was
acknowledged: it lies beside the directory, in `ARCHIVES`, and has to be whole from then on.

``MEMDB_POWER_MUTANT`` breaks durability on purpose, so that the harness can be seen to notice:
``nosync`` opens LMDB without syncs, ``latesync`` syncs each commit when the next one begins, so after it was
acknowledged, ``nodirsync`` forgets to sync directories, ``nofilesync`` files.
``MEMDB_POWER_DURABILITY`` is the level of durability.

python -m tests.crash.power.workload DATA MARK SEED
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Self

import lmdb
import numpy as np

import memdb.store.blocks_ahead
import memdb.store.compact
import memdb.store.creation
import memdb.store.directory
import memdb.store.files
from memdb import Clip, Keyframe, Retention, Utterance
from memdb.config import EngineConfig, IndexConfig
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.user import EmbeddedUser
from memdb.store.upgrade import upgrade
from memdb.types.standing import checked_standing
from tests.crash.power.observed import (
    PASSING_KEY,
    VALUE_KEYS,
    clip_value,
    policy_value,
    standing_value,
)

DIM = 12
SPACE = "power"
SECOND_NS = 10**9
CONFIG = EngineConfig(
    map_bytes_initial=1 << 20,
    open_users_max=2,
    durability=os.environ.get("MEMDB_POWER_DURABILITY", "durable"),
)
"""A small map, so that it grows; few open users, so that they are closed and opened again."""
INDEX = IndexConfig(checkpoint_rows=1)
"""Checkpoints of the smallest users too."""
ROUNDS = 4
ERASED_AFTER = 2
"""The round at whose end one of the two lasting users is erased, for good."""
ARCHIVES = "archives"
"""The folder beside the directory."""
UPGRADED_AFTER = 1
"""The round after which the directory is made anew, by copy and swap."""


def marker_of(user: str, stream: str, seq: int, draft: int | None) -> str:
    """A text that stands in this version of this clip and nowhere else."""
    return "Z" + hashlib.sha256(repr((user, stream, seq, draft)).encode()).hexdigest()[:23]


def clip_of(user: str, stream: str, seq: int, draft: int | None = None) -> Clip:
    """The clip, or one of its open drafts: a function of its name."""
    digest = hashlib.sha256(repr((user, stream, seq, draft)).encode()).digest()
    made = np.random.default_rng(int.from_bytes(digest[:8], "big"))
    start_ns = seq * 10 * SECOND_NS
    rows = int(made.choice((64, 256, 1024, 2400)))  # 1.5 to 58 KB
    return Clip(
        seq=seq,
        start_ns=start_ns,
        end_ns=start_ns + (10 if draft is None else draft + 1) * SECOND_NS,
        global_memory=made.standard_normal(DIM).astype(np.float32),
        short_memory=made.standard_normal((rows, DIM)).astype(np.float16),
        transcript=(Utterance(start_ns, start_ns + 1, marker_of(user, stream, seq, draft)),),
        keyframes=(Keyframe(start_ns, made.bytes(int(made.integers(50, 3000)))),),
        labels={"seq": str(seq)},
        sealed=draft is None,
    )


def value_of(clip: Clip) -> str:
    """The clip in the words of the checker."""
    assert clip.short_memory is None or isinstance(clip.short_memory, np.ndarray)
    return clip_value(clip, clip.short_memory)


class Work:
    """The steps, each between its marks."""

    db: EmbeddedDatabase

    def __init__(self, mark_fd: int, seed: int) -> None:
        self._mark_fd = mark_fd
        self._random = random.Random(seed)
        self._seqs: dict[tuple[str, str], list[int]] = {}
        """Numbers of the clips of each stream, as written."""
        self._known: set[str] = set()

    def one_round(self, user: str, turn: int) -> None:
        """Everything once, in an order of its own; things that follow each other in a group."""
        room = f"room{turn}"

        def growing() -> None:
            self.clips(user, "door", 2)
            self.growing_clip(user, "door")

        def pipelined() -> None:
            self.clips(user, "yard", 7, pipelined=True)

        def swept() -> None:
            self.clips(user, "hall", 5)
            self.sweep(user, "hall")

        def erased() -> None:
            self.clips(user, room, 5)
            self.erase_clips(user, room)
            if turn % 2:
                self.erase_stream(user, room)

        groups: list[Callable[[], None]] = [
            growing,
            pipelined,
            swept,
            erased,
            lambda: self.facts(user, turn),
            lambda: self.questions(user, turn),
            lambda: self.value(user),
            lambda: self.value(user),
            lambda: self.passing_value(user, turn),
        ]
        self._random.shuffle(groups)
        groups.insert(self._random.randrange(1, 4), lambda: self.snapshot(user, "before"))
        groups.insert(self._random.randrange(5, 8), lambda: self.release(user, "before"))
        for group in groups:
            group()

    @contextmanager
    def step(
        self,
        changes: dict[str, str | None],
        *,
        markers: list[str] | None = None,
        resend: tuple[str, str, int] | None = None,
    ) -> Iterator[None]:
        """One step: what it changes, what may be in no file after it.  With markers it is an erasure,
        which is found done or not begun.
        """
        mark(self._mark_fd, {"next": changes, "whole": markers is not None})
        yield
        self._known |= changes.keys()
        mark(self._mark_fd, {"done": True, "markers": markers or [], "resend": resend})

    def _born(self, user: str, stream: str | None = None) -> dict[str, str | None]:
        """What else a first write brings into being."""
        made: dict[str, str | None] = {f"user {user}": "there"}
        if stream is not None:
            made[f"stream {user} {stream}"] = policy_value(Retention())
        return {name: value for name, value in made.items() if name not in self._known}

    def space(self) -> None:
        with self.step({f"space {SPACE}": str(DIM)}):
            self.db.create_space(SPACE, dim=DIM)

    def clips(self, user: str, stream: str, count: int, *, pipelined: bool = False) -> None:
        """Several sealed clips, in one call or through a writer."""
        seqs = self._seqs.setdefault((user, stream), [])
        first = max(seqs, default=-1) + 1
        clips = [clip_of(user, stream, first + n) for n in range(count)]
        changes = self._born(user, stream) | {
            f"clip {user} {stream} {clip.seq}": value_of(clip) for clip in clips
        }
        with self.step(changes, resend=(user, stream, first)):
            handle = self.db.user(user).stream(stream, space=SPACE)
            if pipelined:
                with handle.ingest() as writer:
                    for clip in clips:
                        writer.send(clip)
            else:
                handle.write_many(clips)
        seqs += [clip.seq for clip in clips]

    def growing_clip(self, user: str, stream: str) -> None:
        """A clip that is open twice before it is sealed."""
        seqs = self._seqs.setdefault((user, stream), [])
        seq = max(seqs, default=-1) + 1
        for draft in (0, 1, None):
            clip = clip_of(user, stream, seq, draft)
            changes = self._born(user, stream) | {f"clip {user} {stream} {seq}": value_of(clip)}
            with self.step(changes):
                self.db.user(user).stream(stream, space=SPACE).write(clip)
        seqs.append(seq)

    def facts(self, user_id: str, number: int) -> None:
        """A fact, its revision, and a fact that is forgotten."""
        user = self.db.user(user_id)
        name, other = f"f{number}", f"g{number}"
        texts = [f"{name} holds", f"{name} holds no more"]
        with self.step(self._born(user_id) | {f"fact {user_id} {name}": json.dumps(texts[:1])}):
            fact = user.remember(texts[0], about=["house"])
        with self.step({f"fact {user_id} {name}": json.dumps(texts)}):
            user.revise(fact.id, text=texts[1])
        with self.step({f"fact {user_id} {other}": json.dumps([f"{other} passes"])}):
            passing = user.remember(f"{other} passes", key=other)
        with self.step({f"fact {user_id} {other}": None}):
            user.forget(passing.id)

    def questions(self, user_id: str, number: int) -> None:
        """A standing question under a name, asked twice, and one that is removed."""
        user: EmbeddedUser = self.db.user(user_id)
        feature = np.random.default_rng(number).standard_normal(DIM).astype(np.float32)
        barred: list[tuple[str, dict[str, Any]]] = [
            (f"q{number}", {"min_score": 0.25}),
            ("r", {"min_relevance": 0.5}),
        ]
        for text, bars in barred:
            asked = checked_standing(
                feature,
                min_score=bars.get("min_score"),
                min_relevance=bars.get("min_relevance"),
                kind="seen",
                then_feature=None,
                window_s=None,
                streams=None,
                space=SPACE,
                sealed_only=True,
                text=text,
            )
            changes: dict[str, str | None] = {f"standing {user_id} {text}": standing_value(asked)}
            with self.step(self._born(user_id) | changes):
                made = user.standing.create(feature, **bars, space=SPACE, text=text, name=text)
            with self.step({}):
                user.standing.create(feature, **bars, space=SPACE, text=text, name=text)
        with self.step({f"standing {user_id} r": None}):
            user.standing.remove(made.id)

    def value(self, user_id: str) -> None:
        key = self._random.choice(VALUE_KEYS)
        value = [self._random.randrange(1000), "x" * self._random.randrange(200)]
        with self.step(self._born(user_id) | {f"value {user_id} {key}": json.dumps(value)}):
            self.db.user(user_id).put(key, value)

    def passing_value(self, user_id: str, number: int) -> None:
        """A value that is removed, and the compaction after which no file has it."""
        user = self.db.user(user_id)
        key, text = PASSING_KEY, marker_of(user_id, "value", number, None)
        with self.step(self._born(user_id) | {f"value {user_id} {key}": json.dumps(text)}):
            user.put(key, text)
        with self.step({f"value {user_id} {key}": None}):
            user.remove(key)
        with self.step({}, markers=[text]):
            user.compact()

    def snapshot(self, user_id: str, name: str) -> None:
        with self.step({f"snapshot {user_id} {name}": "there"}):
            self.db.user(user_id).snapshot(name, ttl_s=10**6)

    def release(self, user_id: str, name: str) -> None:
        with self.step({f"snapshot {user_id} {name}": None}):
            self.db.user(user_id).release(name)

    def erase_clips(self, user_id: str, stream: str) -> None:
        """Every third clip of the stream."""
        user: EmbeddedUser = self.db.user(user_id)
        seqs = self._seqs[user_id, stream]
        gone = seqs[::3]
        ids = [clip.id for clip in user.clips(stream=stream) if clip.seq in gone]
        changes: dict[str, str | None] = {f"clip {user_id} {stream} {seq}": None for seq in gone}
        with self.step(changes, markers=_markers(user_id, stream, gone)):
            user.erase_clips(ids)
        self._seqs[user_id, stream] = [seq for seq in seqs if seq not in gone]

    def erase_stream(self, user_id: str, stream: str) -> None:
        seqs = self._seqs.pop((user_id, stream))
        changes: dict[str, str | None] = {f"clip {user_id} {stream} {seq}": None for seq in seqs}
        changes[f"stream {user_id} {stream}"] = None
        with self.step(changes, markers=_markers(user_id, stream, seqs)):
            self.db.user(user_id).stream(stream).erase()
        self._known -= changes.keys()

    def sweep(self, user_id: str, stream: str) -> None:
        """A policy that keeps three clips and no short-term memory, and its sweep."""
        policy = Retention(max_clips=3, short_memory_age_s=1)
        with self.step({f"stream {user_id} {stream}": policy_value(policy)}):
            self.db.user(user_id).stream(stream).set_retention(policy)
        seqs = self._seqs[user_id, stream]
        changes: dict[str, str | None] = {
            f"clip {user_id} {stream} {seq}": (
                None
                if seq in seqs[:-3]
                else value_of(replace(clip_of(user_id, stream, seq), short_memory=None))
            )
            for seq in seqs
        }
        with self.step(changes):
            self.db.sweep()
        with self.step({f"stream {user_id} {stream}": policy_value(Retention())}):
            self.db.user(user_id).stream(stream).set_retention(None)
        self._seqs[user_id, stream] = seqs[-3:]

    def backup(self, turn: int) -> None:
        """An archive in every round, full or upon the one before by turns."""
        archives = self.db._directory.path.absolute().parent / ARCHIVES
        self.db.backup(
            archives / f"a{turn}", parent=archives / f"a{turn - 1}" if turn % 2 else None
        )
        mark(self._mark_fd, {"archived": f"a{turn}"})

    def erase_user(self, user_id: str) -> None:
        mine = {name for name in self._known if name.split()[1] == user_id}
        changes: dict[str, str | None] = dict.fromkeys(sorted(mine))
        markers: list[str] = []
        for user, stream in [key for key in self._seqs if key[0] == user_id]:
            markers += _markers(user, stream, self._seqs.pop((user, stream)))
        with self.step(changes, markers=markers):
            self.db.user(user_id).erase()
        self._known -= changes.keys()


def _markers(user: str, stream: str, seqs: list[int]) -> list[str]:
    return [marker_of(user, stream, seq, draft) for seq in seqs for draft in (None, 0, 1)]


def mark(fd: int, line: object) -> None:
    """One write, so that a mark is one record."""
    os.write(fd, json.dumps(line).encode() + b"\n")


def give_small_files_blocks() -> None:
    """Have blocks laid out behind the end of small files too, in this process; for one that is the program's own."""
    for name, value in (("COMMIT_BYTES_MIN", 4096), ("FILE_PARTS", 1), ("FREE_PARTS_MIN", 1)):
        setattr(memdb.store.blocks_ahead, name, value)


def work(data: str, mark_fd: int, seed: int) -> None:
    """All steps, `ROUNDS` times, with the database closed and opened in between; in a process of its own."""
    give_small_files_blocks()
    work = Work(mark_fd, seed)
    lasting = (f"alice{seed}", f"bob{seed}")
    for turn in range(ROUNDS):
        with work.step({}):
            db = EmbeddedDatabase(data, config=CONFIG, index=INDEX, embed_texts=False)
        with db:
            work.db = db
            if turn == 0:
                work.space()
            for user in lasting[: 1 if turn > ERASED_AFTER else 2]:
                work.one_round(user, turn)
            passing = f"passing{turn}"
            work.clips(passing, "door", 3)
            work.facts(passing, 0)
            work.erase_user(passing)
            work.backup(turn)
            if turn == ERASED_AFTER:
                work.erase_user(lasting[1])
        if turn == UPGRADED_AFTER:
            with work.step({}):
                upgrade(data)


class LateEnvironment:
    """An environment that syncs a commit when the next one begins."""

    def __init__(
        self, opened: Callable[..., lmdb.Environment], *arguments: Any, **named: Any
    ) -> None:
        self._environment = opened(*arguments, **(named | {"sync": False}))

    def begin(self, *arguments: Any, write: bool = False, **named: Any) -> Any:
        if write:
            self._environment.sync(True)
        begin: Callable[..., Any] = self._environment.begin
        return begin(*arguments, write=write, **named)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._environment, name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._environment.close()


def break_durability(mutant: str) -> None:
    """Forget what makes things durable; only this program reads the variable."""
    modules = (
        memdb.store.compact,
        memdb.store.creation,
        memdb.store.directory,
        memdb.store.files,
    )
    forgotten: dict[str, str] = {"nodirsync": "sync_directory", "nofilesync": "sync_file"}
    if mutant == "nosync":
        lmdb.open = functools.partial(lmdb.open, sync=False)  # type: ignore[assignment]
    elif mutant == "latesync":
        lmdb.open = functools.partial(LateEnvironment, lmdb.open)  # type: ignore[assignment]
    elif mutant in forgotten:
        for module in modules:
            if hasattr(module, forgotten[mutant]):
                setattr(module, forgotten[mutant], lambda path: None)
    elif mutant:
        raise SystemExit(f"no mutant {mutant}")


def main() -> None:
    data, mark_path, seed = sys.argv[1:]
    break_durability(os.environ.get("MEMDB_POWER_MUTANT", ""))
    fd = os.open(mark_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    work(data, fd, int(seed))
    os.close(fd)


if __name__ == "__main__":
    main()
