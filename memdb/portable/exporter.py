"""Writing an export: everything of one user as of one revision."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Self

import pyarrow as pa
from pyarrow import parquet
from safetensors import SafetensorError
from safetensors.numpy import save_file

import memdb
from memdb.config import EngineConfig
from memdb.errors import AlreadyExists, DataLoss, NotFound
from memdb.portable.layout import (
    BATCH,
    CLIP_SCHEMA,
    CLIPS,
    FACT_SCHEMA,
    FACTS,
    STANDING,
    STANDING_SCHEMA,
    TAKEN,
    TAKEN_SCHEMA,
    VALUE_SCHEMA,
    VALUES,
    ExportReport,
    describe,
)
from memdb.portable.policies import stream_policy
from memdb.portable.standing import standing_rows
from memdb.portable.taken import Numbers, taken_numbers, taken_rows
from memdb.store.appearing import in_place, making, usable
from memdb.store.archive_place import check_place
from memdb.store.disk import check_disk
from memdb.store.files import make_directories, sync_directory, sync_file
from memdb.types.arrays import Array
from memdb.types.clip import StoredClip
from memdb.types.database import Database, User
from memdb.types.fact import Fact
from memdb.types.json_value import value_to_json
from memdb.types.paths import check_made, checked_path
from memdb.types.stream import StreamInfo

_TENSOR_FILE_BYTES: Final = 256 << 20
"""A tensor file is closed above it; so much is held in memory."""
_UNFINISHED: Final = ".memdb-export-"
_SYSTEM_ERROR: Final = re.compile(r"\(os error (\d+)\)")


def export_user(
    db: Database, user: str, path: str | os.PathLike[str], *, config: EngineConfig | None = None
) -> ExportReport:
    """Write ``user`` into the new directory ``path``.

    A clip that cannot be read whole is left out, and counted; standing questions are where one is damaged.
    config: for what has to stay free of the disk.

    Raises `NotFound` (``USER_NOT_FOUND``), `AlreadyExists` (``PATH_EXISTS``), `InvalidArgument` (``BAD_PATH``),
    `ResourceExhausted` (``DISK_FULL``), and as `memdb.store.appearing.refused` what the system refuses;
    nothing is made then.
    """
    target = Path(checked_path(path, "path"))
    check_made(path, "path")
    handle = db.user(user)
    revision = handle.revision()
    with usable(target):
        if target.exists() or target.is_symlink():
            raise AlreadyExists(
                "something lies there; it is never overwritten",
                reason="PATH_EXISTS",
                field="path",
                value=str(target),
            )
        check_place(target)
        make_directories(target.parent)
    with making(target, _UNFINISHED) as (folder, _):
        report = _written(db, handle, revision, _Room(folder, config or EngineConfig()))
        for file in folder.iterdir():
            sync_file(file)
        sync_directory(folder)
        with in_place(folder, target):
            pass  # nobody has anything to do before the name is durable
    return replace(report, path=str(target))


def _written(db: Database, user: User, revision: int, room: _Room) -> ExportReport:
    """Write every file of the export; the report of it, whose path is the folder's for now."""
    streams = [stream for stream in user.streams() if stream.revision <= revision]
    clips, damaged = _write_clips(user, streams, revision, room)
    facts, values = _write_history(user, revision, room)
    questions = standing_rows(user, revision)
    if questions is not None:
        _write(room, STANDING, STANDING_SCHEMA, iter(questions))
    asked = None if questions is None else len(questions)
    policies = {stream.name: stream_policy(user, stream.name) for stream in streams}
    text_space = user.text_space()
    used = {stream.space for stream in streams} | ({text_space.name} if text_space else set())
    used |= {row["space"] for row in questions or ()}
    describe(
        room.folder,
        {
            "memdb": memdb.__version__,
            "user": user.id,
            "revision": revision,
            "exported_ns": time.time_ns(),
            "text_space": None if text_space is None else text_space.name,
            "spaces": [
                {"name": s.name, "dim": s.dim, "metric": s.metric, "model": s.model}
                for s in db.spaces()
                if s.name in used
            ],
            "streams": [
                {"name": s.name, "space": s.space, "zone": s.zone, "retention": policies[s.name]}
                for s in streams
            ],
            "damaged": damaged,
            "standing": asked,
        },
    )
    return ExportReport(
        path=str(room.folder),
        user=user.id,
        revision=revision,
        clips=clips,
        facts=facts,
        values=values,
        bytes_written=sum(file.stat().st_size for file in room.folder.iterdir()),
        damaged=damaged,
        standing=asked,
        policies=sum(policy is not None for policy in policies.values()),
    )


def _write_clips(
    user: User, streams: Sequence[StreamInfo], revision: int, room: _Room
) -> tuple[int, int]:
    """The clips with their tensors, and the numbers that were taken; how many clips, and how many are left out."""
    left_out: list[str] = []
    there = {stream.name: Numbers() for stream in streams}
    with _Tensors(room) as tensors:
        rows = (
            row
            for name, numbers in there.items()
            for row in _clips(user, name, revision, tensors, left_out, numbers)
        )
        clips = _write(room, CLIPS, CLIP_SCHEMA, rows)
    taken = [
        row
        for name, numbers in there.items()
        for row in taken_rows(name, taken_numbers(user, name, revision, numbers))
    ]
    if taken:
        _write(room, TAKEN, TAKEN_SCHEMA, iter(taken))
    # Listings leave them out too, and gaps tell.
    damaged = sum(
        gap.last_seq - gap.first_seq + 1
        for name in there
        for gap in user.stream(name).gaps(as_of=revision)
        if gap.reason == "damaged"
    )
    return clips, max(damaged, len(left_out))


def _write_history(user: User, revision: int, room: _Room) -> tuple[int, int]:
    """The versions of facts and of values; how many of each."""
    with ExitStack() as stack:
        facts = _Rows(stack, room, FACTS, FACT_SCHEMA)
        values = _Rows(stack, room, VALUES, VALUE_SCHEMA)
        for kind, row in _Changes(user, revision):
            (facts if kind == "fact" else values).add(row)
    return facts.count, values.count


class _Room:
    """The folder of an export that grows, and what has to stay free of its disk."""

    def __init__(self, folder: Path, config: EngineConfig) -> None:
        self.folder = folder
        self._config = config

    def check(self, size: int) -> None:
        """Raise `ResourceExhausted` (``DISK_FULL``) unless so many bytes more have room."""
        check_disk(self.folder, self._config, size)


class _Rows:
    """A Parquet file that grows by row groups."""

    def __init__(self, stack: ExitStack, room: _Room, name: str, schema: Any) -> None:
        self._schema = schema
        self._room = room
        path = room.folder / name
        self._writer = stack.enter_context(parquet.ParquetWriter(path, schema, compression="zstd"))
        stack.callback(self._flush)
        self._rows: list[dict[str, Any]] = []
        self.count = 0

    def add(self, row: dict[str, Any]) -> None:
        self._rows.append(row)
        self.count += 1
        if len(self._rows) >= BATCH:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            table = pa.Table.from_pylist(self._rows, self._schema)
            self._rows = []
            self._room.check(table.nbytes)
            self._writer.write_table(table)


def _write(room: _Room, name: str, schema: Any, rows: Iterator[dict[str, Any]]) -> int:
    with ExitStack() as stack:
        written = _Rows(stack, room, name, schema)
        for row in rows:
            written.add(row)
    return written.count


class _Tensors:
    """The tensor files."""

    def __init__(self, room: _Room) -> None:
        self._room = room
        self._files = 0
        self._held: dict[str, Array] = {}
        self._size = 0

    @property
    def name(self) -> str:
        """Of the file that what is added now goes into."""
        return f"tensors-{self._files:05}.safetensors"

    def add(self, name: str, tensor: Array) -> None:
        self._held[name] = tensor
        self._size += tensor.nbytes

    def clip_is_whole(self) -> None:
        """Begin the next file if this one is large; a clip's tensors stand in one."""
        if self._size >= _TENSOR_FILE_BYTES:
            self._close_file()

    def _close_file(self) -> None:
        self._room.check(self._size)
        try:
            save_file(self._held, self._room.folder / self.name)
        except SafetensorError as error:
            # Of the library's own errors writing has but one: what the system said, as text.
            number = _SYSTEM_ERROR.search(str(error))
            if number is None:
                raise
            raise OSError(int(number[1]), os.strerror(int(number[1]))) from error
        self._files += 1
        self._held, self._size = {}, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and self._held:
            self._close_file()


def _clips(
    user: User,
    stream: str,
    revision: int,
    tensors: _Tensors,
    left_out: list[str],
    there: Numbers,
) -> Iterator[dict[str, Any]]:
    """Rows of a stream's clips; ids of those that are damaged go into ``left_out``, their numbers and those of
    the rows into ``there``.
    """
    after: str | None = None
    while page := user.clips(stream=stream, as_of=revision, limit=BATCH, after=after):
        for clip in page:
            try:
                (short,) = user.short_memory([clip.id], as_of=revision)
            except NotFound as error:
                if error.reason == "CLIP_NOT_FOUND":
                    continue  # removed since the page was read
                if error.reason != "NO_SHORT_MEMORY":
                    raise
            except DataLoss:
                left_out.append(clip.id)
                there.add(clip.epoch, clip.seq, clip.seq)
                continue
            else:
                tensors.add(f"{clip.id}.short_memory", short)
                there.add(clip.epoch, clip.seq, clip.seq)
                yield _clip_row(clip, tensors, has_short=True)
                continue
            there.add(clip.epoch, clip.seq, clip.seq)
            yield _clip_row(clip, tensors, has_short=False)
        after = page[-1].cursor


def _clip_row(clip: StoredClip, tensors: _Tensors, *, has_short: bool) -> dict[str, Any]:
    tensors.add(f"{clip.id}.global_memory", clip.global_memory)
    name = tensors.name
    tensors.clip_is_whole()
    return {
        "id": clip.id,
        "stream": clip.stream,
        "epoch": clip.epoch,
        "seq": clip.seq,
        "start_ns": clip.start_ns,
        "end_ns": clip.end_ns,
        "sealed": clip.sealed,
        "revision": clip.revision,
        "frames_per_token_row": clip.frames_per_token_row,
        "transcript": [
            {
                "start_ns": u.start_ns,
                "end_ns": u.end_ns,
                "text": u.text,
                "speaker": u.speaker,
                "language": u.language,
            }
            for u in clip.transcript
        ],
        "events": [
            {"start_ns": e.start_ns, "end_ns": e.end_ns, "label": e.label, "score": e.score}
            for e in clip.events
        ],
        "labels": [{"key": key, "value": value} for key, value in clip.labels.items()],
        "keyframes": [{"time_ns": k.time_ns, "jpeg": k.jpeg} for k in clip.keyframes],
        "tensors": name,
        "has_short_memory": has_short,
    }


_REMOVED: Final = object()
"""In the place of a value that was removed since."""


class _Changes:
    """Versions of facts and values, in the order of the commits."""

    def __init__(self, user: User, revision: int) -> None:
        self._user = user
        self._revision = revision

    def __iter__(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for change in self._user.watch(from_revision=0, follow=False):
            if change.revision > self._revision:
                return
            if change.kind == "fact" and change.fact is not None:
                yield "fact", _fact_row(change.fact)
            elif change.kind == "value" and change.key is not None:
                value = self._user.get(change.key, _REMOVED, as_of=change.revision)
                if value is _REMOVED:
                    continue
                yield (
                    "value",
                    {
                        "key": change.key,
                        "json": value_to_json(value),
                        "revision": change.revision,
                    },
                )


def _fact_row(fact: Fact) -> dict[str, Any]:
    return {
        "id": fact.id,
        "text": fact.text,
        "about": list(fact.about),
        "key": fact.key,
        "valid_from_ns": fact.valid_from_ns,
        "valid_to_ns": fact.valid_to_ns,
        "evidence": list(fact.evidence),
        "revision": fact.revision,
        "written_ns": fact.written_ns,
    }
