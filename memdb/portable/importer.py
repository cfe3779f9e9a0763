"""Reading an export into a user, through the ordinary writes.

What is written gets new ids and new revisions: an id carries a check that only its user's key makes,
and the key is not exported.  Importing again writes nothing: a clip is recognised by its number and
content, the versions of a fact or value by what they say, in their order.  So an import that was broken
off is repeated.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from pyarrow import parquet
from safetensors import safe_open

from memdb.errors import DataLoss, NotFound
from memdb.portable.layout import (
    BATCH,
    CLIPS,
    DESCRIPTION,
    FACTS,
    READ_ERRORS,
    STANDING,
    TAKEN,
    VALUES,
    ImportReport,
    described,
)
from memdb.portable.policies import described_policy, write_policies
from memdb.portable.standing import check_rows, write_standing
from memdb.portable.taken import Runs, Taking, checked_taken
from memdb.types.arrays import Array
from memdb.types.clip import Ack, Clip, Keyframe, SoundEvent, Utterance, carried_bytes
from memdb.types.database import Database, User
from memdb.types.fact import Fact
from memdb.types.json_value import value_to_json
from memdb.types.limits import BATCH_BYTES_MAX, BATCH_OPERATIONS_MAX
from memdb.types.paths import checked_path
from memdb.types.retention import Retention
from memdb.types.space import Space
from memdb.types.validity import OPEN
from memdb.types.zone import checked_zone

_T = TypeVar("_T")
_Version = tuple[Any, ...]
"""What a version of a fact says: text, about, key, validity, evidence."""


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
    with _reading(DESCRIPTION):
        target = db.user(document["user"] if user is None else user)
    # What is wrong is found before the first write, but for a clip.
    return _imported(db, _read(folder, document), target)


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """Within, only a file of the export is read: whatever it makes the libraries raise is `DataLoss`
    (``BAD_EXPORT``) naming it.
    """
    try:
        yield
    except READ_ERRORS as error:
        raise DataLoss("it is not as the format says", reason="BAD_EXPORT", field=name) from error


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
    facts: list[dict[str, Any]]
    cited: set[str]
    """Ids of clips that facts name as evidence."""
    values: list[tuple[str, str]]
    questions: list[dict[str, Any]]
    taken: dict[str, Runs]


def _read(folder: Path, document: dict[str, Any]) -> _Export:
    """Raises `DataLoss`, and `InvalidArgument` for a zone that is not known here."""
    with _reading(DESCRIPTION):
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
    with _reading(FACTS):
        facts = list(_rows(folder / FACTS))
        cited = {clip for row in facts for clip in row["evidence"]}
    with _reading(VALUES):
        values = [
            (row["key"], value_to_json(json.loads(row["json"]))) for row in _rows(folder / VALUES)
        ]
    questions: list[dict[str, Any]] = []
    if STANDING in files:
        with _reading(STANDING):
            questions = list(_rows(folder / STANDING))
            check_rows(questions)
    taken: dict[str, Runs] = {}
    if TAKEN in files:
        with _reading(TAKEN):
            taken = checked_taken(_rows(folder / TAKEN), spaces)
    return _Export(
        folder, files, made, spaces, zones, policies, text_space, facts, cited, values, questions, taken
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
        if row["id"] in export.cited:
            ids[row["id"]] = ack.clip_id
    known_facts, known_values = _known(user)
    facts_written = _write_facts(user, export.facts, ids, known_facts)
    values_written = _write_values(user, export.values, known_values)
    # After the clips: what they answered was told where they came from.
    cosine = {space.name for space in export.made if space.metric == "cosine"}
    asked = write_standing(user, export.questions, cosine)
    # Last: what is under hold could not be mended by whoever repeats an import that was broken off.
    policies_written = write_policies(user, export.policies)
    return ImportReport(
        user=user.id,
        clips_written=written,
        clips_present=present,
        facts_written=facts_written,
        facts_present=len(export.facts) - facts_written,
        values_written=values_written,
        values_present=len(export.values) - values_written,
        evidence_dropped=sum(clip not in ids for row in export.facts for clip in row["evidence"]),
        standing_written=asked,
        standing_present=len(export.questions) - asked,
        numbers_taken=takings.written,
        numbers_left=takings.left,
        policies_written=policies_written,
    )


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=BATCH):
            yield from batch.to_pylist()


# -- clips


def _clips(
    folder: Path, spaces: Collection[str], files: Collection[str]
) -> Iterator[tuple[dict[str, Any], Clip]]:
    """Each clip's row, and the clip."""
    tensors = _Tensors(folder, files)
    rows = _rows(folder / CLIPS)
    while True:
        with _reading(CLIPS):
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


# -- facts and values


_REMOVED: Final = object()
"""In the place of a value that was removed since."""


def _known(user: User) -> tuple[dict[str, list[_Version]], dict[str, list[str]]]:
    """Versions that the user has: of each fact by id, of each value (as JSON) by key."""
    facts: dict[str, list[_Version]] = defaultdict(list)
    values: dict[str, list[str]] = defaultdict(list)
    try:
        for change in user.watch(from_revision=0, follow=False):
            if change.kind == "fact" and change.fact is not None:
                facts[change.fact.id].append(_version_of(change.fact))
            elif change.kind == "value" and change.key is not None:
                value = user.get(change.key, _REMOVED, as_of=change.revision)
                if value is _REMOVED:
                    continue
                values[change.key].append(value_to_json(value))
    except NotFound as error:
        if error.reason != "USER_NOT_FOUND":
            raise
    return facts, values


def _version_of(fact: Fact) -> _Version:
    return (
        fact.text, fact.about, fact.key, fact.valid_from_ns, fact.valid_to_ns, fact.evidence,
    )  # fmt: skip


def _present(wanted: Sequence[_T], there: Sequence[_T]) -> int:
    """How many of ``wanted``, from its first, stand in ``there`` in this order."""
    count = 0
    for item in there:
        if count < len(wanted) and item == wanted[count]:
            count += 1
    return count


def _write_facts(
    user: User,
    rows: Sequence[dict[str, Any]],
    ids: dict[str, str],
    known: dict[str, list[_Version]],
) -> int:
    wanted: dict[str, list[_Version]] = defaultdict(list)
    for row in rows:
        wanted[row["id"]].append(
            (
                row["text"],
                tuple(row["about"]),
                row["key"],
                row["valid_from_ns"],
                row["valid_to_ns"],
                tuple(ids[clip] for clip in row["evidence"] if clip in ids),
            )
        )
    by_name: dict[object, list[str]] = defaultdict(list)
    for known_id, stored in known.items():
        by_name[_name(stored[0])].append(known_id)
    written = 0
    for versions in wanted.values():
        candidates = by_name[_name(versions[0])]
        fact_id = max(candidates, key=lambda no: _present(versions, known[no]), default=None)
        there = 0 if fact_id is None else _present(versions, known[fact_id])
        if fact_id is not None and there:
            candidates.remove(fact_id)
        else:
            fact_id = None
        for place, version in enumerate(versions[there:], there):
            had_end = place > 0 and versions[place - 1][4] is not None
            fact_id = _write_fact(user, fact_id, version, had_end=had_end)
            written += 1
    return written


def _name(first: _Version) -> object:
    """What a fact is looked for by: its key, or its first version."""
    return first if first[2] is None else first[2]


def _write_fact(user: User, fact_id: str | None, version: _Version, *, had_end: bool) -> str:
    text, about, key, valid_from, valid_to, evidence = version
    if fact_id is None or key is not None:
        # Under a key the next statement is the next version, whichever fact holds it.
        fact = user.remember(
            text,
            about=about,
            key=key,
            valid_from=valid_from,
            valid_to=valid_to,
            evidence=evidence,
        )
    else:
        fact = user.revise(
            fact_id,
            text=text,
            about=about,
            valid_from=valid_from,
            valid_to=OPEN if valid_to is None and had_end else valid_to,
            evidence=evidence,
        )
    return fact.id


def _write_values(
    user: User, values: Sequence[tuple[str, str]], known: dict[str, list[str]]
) -> int:
    wanted: dict[str, list[str]] = defaultdict(list)
    for key, text in values:
        wanted[key].append(text)
    written = 0
    for key, versions in wanted.items():
        for text in versions[_present(versions, known.get(key, ())) :]:
            user.put(key, json.loads(text))
            written += 1
    return written
