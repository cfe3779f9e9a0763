"""Reading an export into a user, through the ordinary writes.

What is written gets new ids and new revisions: an id carries a check that only its user's key makes,
and the key is not exported.  Importing again writes nothing: a clip is recognised by its number and
content, the versions of a fact or value by what they say, in their order.  So an import that was broken
off is repeated.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open

from memdb.errors import DataLoss
from memdb.portable.history import History, checked_history, write_history
from memdb.portable.layout import (
    BATCH,
    CLIPS,
    DESCRIPTION,
    STANDING,
    TAKEN,
    ImportReport,
    described,
)
from memdb.portable.policies import described_policy, write_policies
from memdb.portable.rows import reading, rows_of
from memdb.portable.standing import check_rows, write_standing
from memdb.portable.taken import Runs, Taking, checked_taken
from memdb.types.arrays import Array
from memdb.types.clip import Ack, Clip, Keyframe, SoundEvent, Utterance, carried_bytes
from memdb.types.database import Database, User
from memdb.types.limits import BATCH_BYTES_MAX, BATCH_OPERATIONS_MAX
from memdb.types.paths import checked_path
from memdb.types.retention import Retention
from memdb.types.space import Space
from memdb.types.zone import checked_zone


def import_user(
    db: Database, path: str | os.PathLike[str], *, user: str | None = None
) -> ImportReport:
    """Write an export into ``user`` (by default of the name it was exported under).

    Raises `NotFound` (``NOT_AN_EXPORT``), `FailedPrecondition` (``FORMAT_NEWER``,
    ``TEXT_SPACE_SET``, ``SPACE_MISMATCH``), `AlreadyExists` (``SPACE_EXISTS``; ``SEQ_REUSED`` where
    the user has another clip under a number) and `DataLoss` before anything is written when a file
    is damaged.
    """
    folder = Path(checked_path(path, "export"))
    document = described(folder)
    with reading(DESCRIPTION):
        target = db.user(document["user"] if user is None else user)
    # What is wrong is found before the first write, but for a clip.
    return _imported(db, _read(folder, document), target)


@dataclass(frozen=True, slots=True)
class _Export:
    """An export, read and checked but for its clips, which are read while they are written."""

    folder: Path
    files: Collection[str]
    made: list[Space]
    spaces: dict[str, str]
    """The space of each stream."""
    zones: dict[str, str | None]
    policies: dict[str, Retention | None]
    text_space: str | None
    history: History
    questions: list[dict[str, Any]]
    taken: dict[str, Runs]


def _read(folder: Path, document: dict[str, Any]) -> _Export:
    """Raises `DataLoss`, and `InvalidArgument` for a zone that is not known here."""
    with reading(DESCRIPTION):
        streams = document["streams"]
        made = [Space(s["name"], s["dim"], s["metric"], s["model"]) for s in document["spaces"]]
        spaces = {stream["name"]: stream["space"] for stream in streams}
        # Exports of earlier releases name none.
        zones = {stream["name"]: stream.get("zone") for stream in streams}
        policies = {stream["name"]: described_policy(stream.get("retention")) for stream in streams}
        text_space = document["text_space"]
        files: Collection[str] = document["files"]
    for zone in zones.values():
        if zone is not None:
            checked_zone(zone)
    history = checked_history(folder)
    questions: list[dict[str, Any]] = []
    if STANDING in files:
        with reading(STANDING):
            questions = list(rows_of(folder / STANDING))
            check_rows(questions)
    taken: dict[str, Runs] = {}
    if TAKEN in files:
        with reading(TAKEN):
            taken = checked_taken(rows_of(folder / TAKEN), spaces)
    return _Export(
        folder, files, made, spaces, zones, policies, text_space, history, questions, taken
    )  # fmt: skip


def _imported(db: Database, export: _Export, user: User) -> ImportReport:
    for space in export.made:
        db.create_space(space.name, dim=space.dim, metric=space.metric, model=space.model)
    for stream, space_name in export.spaces.items():
        user.stream(stream, space=space_name).create(zone=export.zones[stream])
    if export.text_space is not None:
        user.configure(text_space=export.text_space)
    ids: dict[str, str] = {}
    written = present = 0
    by_name = {space.name: space for space in export.made}
    stream_spaces = {name: by_name[space] for name, space in export.spaces.items()}
    takings = _Takings(user, stream_spaces, export.taken)
    items = takings.merged(_clips(export.folder, export.spaces, export.files))
    for row, ack in _write_clips(user, takings, items):
        written, present = written + (not ack.duplicate), present + ack.duplicate
        if row["id"] in export.history.cited:
            ids[row["id"]] = ack.clip_id
    told = write_history(user, export.history, ids)
    # After the clips: what they answered was told where they came from.
    cosine = {space.name for space in export.made if space.metric == "cosine"}
    asked = write_standing(user, export.questions, cosine)
    # Last: what is under hold could not be mended by whoever repeats an import that was broken off.
    policies_written = write_policies(user, export.policies)
    return ImportReport(
        user=user.id,
        clips_written=written,
        clips_present=present,
        facts_written=told.facts,
        facts_present=export.history.facts - told.facts,
        values_written=told.values,
        values_present=export.history.values - told.values,
        evidence_dropped=told.evidence_dropped,
        standing_written=asked,
        standing_present=len(export.questions) - asked,
        numbers_taken=takings.written,
        numbers_left=takings.left,
        policies_written=policies_written,
    )


# -- clips


def _clips(
    folder: Path, spaces: Collection[str], files: Collection[str]
) -> Iterator[tuple[dict[str, Any], Clip]]:
    """Each clip's row, and the clip."""
    tensors = _Tensors(folder, files)
    rows = rows_of(folder / CLIPS)
    while True:
        with reading(CLIPS):
            row = next(rows, None)
            if row is None:
                return
            if row["stream"] not in spaces:
                raise _unknown("stream", row["stream"])
            clip = _clip(row, tensors)
        yield row, clip


@dataclass(frozen=True, slots=True)
class _Item:
    """A clip to be written."""

    stream: str
    clip: Clip
    row: dict[str, Any] | None
    """None where it takes a number, see `memdb.portable.taken`."""


class _Takings:
    """The clips of an import, with those that take numbers in their places."""

    def __init__(self, user: User, spaces: dict[str, Space], wanted: dict[str, Runs]) -> None:
        self._user = user
        self._spaces = spaces
        self._wanted = dict(wanted)
        self._takings: dict[str, Taking] = {}

    @property
    def written(self) -> int:
        """Numbers that are taken."""
        return sum(taking.written for taking in self._takings.values())

    @property
    def left(self) -> int:
        """Numbers that are not, because their stream is under legal hold."""
        return sum(taking.left for taking in self._takings.values())

    def merged(self, clips: Iterator[tuple[dict[str, Any], Clip]]) -> Iterator[_Item]:
        """Everything in its order; what was given is written, and told, when the next of another stream is."""
        before: str | None = None
        for row, clip in clips:
            stream: str = row["stream"]
            if stream != before:
                yield from self._rest(before)
                before = stream
                self._begin(stream)
            taking = self._takings.get(stream)
            if taking is not None:
                for taken in taking.before(clip.epoch, clip.seq):
                    yield _Item(stream, taken, None)
            yield _Item(stream, clip, row)
        yield from self._rest(before)
        for left in list(self._wanted):
            self._begin(left)
            yield from self._rest(left)

    def wrote(self, batch: Sequence[_Item]) -> None:
        """These are written, all of one stream."""
        taking = self._takings.get(batch[0].stream)
        if taking is not None:
            taking.wrote(sum(item.row is None for item in batch))

    def _begin(self, stream: str) -> None:
        wanted = self._wanted.pop(stream, None)
        if wanted:
            self._takings[stream] = Taking(self._user, stream, self._spaces[stream], wanted)

    def _rest(self, stream: str | None) -> Iterator[_Item]:
        taking = None if stream is None else self._takings.get(stream)
        if taking is not None and stream is not None:
            for taken in taking.rest():
                yield _Item(stream, taken, None)


def _write_clips(
    user: User, takings: _Takings, items: Iterator[_Item]
) -> Iterator[tuple[dict[str, Any], Ack]]:
    """Each clip's row and acknowledgement."""
    batch: list[_Item] = []
    clips = size = 0
    for item in items:
        if batch and (
            clips >= BATCH
            or len(batch) >= BATCH_OPERATIONS_MAX
            or size >= BATCH_BYTES_MAX  # a commit takes no more, and all of it is in memory
            or batch[0].stream != item.stream
        ):
            yield from _write_batch(user, takings, batch)
            batch, clips, size = [], 0, 0
        batch.append(item)
        clips += item.row is not None
        size += carried_bytes(item.clip, item.clip.short_memory)
    if batch:
        yield from _write_batch(user, takings, batch)


def _write_batch(
    user: User, takings: _Takings, batch: Sequence[_Item]
) -> Iterator[tuple[dict[str, Any], Ack]]:
    stream = user.stream(batch[0].stream)
    acks = stream.write_many([item.clip for item in batch])
    takings.wrote(batch)
    for item, ack in zip(batch, acks, strict=True):
        if item.row is not None:
            yield item.row, ack


class _Tensors:
    """The tensor files, the last one opened kept open: clips come in their order."""

    def __init__(self, folder: Path, files: Collection[str]) -> None:
        self._folder = folder
        self._files = files
        self._name: str | None = None
        self._opened: Any = None

    def get(self, file: str, name: str) -> Array:
        """A tensor of a file."""
        if file != self._name:
            if file not in self._files:
                # Nobody compared its checksum.
                raise _unknown("tensors", file)
            self._opened = safe_open(self._folder / file, framework="numpy")
            self._name = file
        tensor: Array = self._opened.get_tensor(name)
        return tensor


def _clip(row: dict[str, Any], tensors: _Tensors) -> Clip:
    file, name = row["tensors"], row["id"]
    global_memory = tensors.get(file, f"{name}.global_memory")
    short = tensors.get(file, f"{name}.short_memory") if row["has_short_memory"] else None
    return Clip(
        seq=row["seq"],
        epoch=row["epoch"],
        start_ns=row["start_ns"],
        end_ns=row["end_ns"],
        sealed=row["sealed"],
        global_memory=global_memory,
        short_memory=short,
        frames_per_token_row=row["frames_per_token_row"],
        transcript=tuple(Utterance(**item) for item in row["transcript"]),
        events=tuple(SoundEvent(**item) for item in row["events"]),
        keyframes=tuple(Keyframe(**item) for item in row["keyframes"]),
        labels={item["key"]: item["value"] for item in row["labels"]},
    )


def _unknown(field: str, value: object) -> DataLoss:
    return DataLoss(
        f"{DESCRIPTION} does not name it", reason="BAD_EXPORT", field=field, value=value
    )
