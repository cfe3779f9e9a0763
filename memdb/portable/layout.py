"""The files of an export and what stands in them; docs/export-format.md in code.

::

    EXPORT/export.json                  what the export holds, with a SHA-256 of every file
    EXPORT/clips.parquet                one row per clip, in its newest version
    EXPORT/facts.parquet                one row per version of a fact, in the order of the commits
    EXPORT/values.parquet               one row per version of a value, in the order of the commits
    EXPORT/standing.parquet             one row per standing question, oldest first
    EXPORT/taken.parquet                one row per run of numbers whose clips were given up or erased
    EXPORT/tensors-NNNNN.safetensors    ID.global_memory and ID.short_memory of clips
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
from safetensors import SafetensorError

from memdb.errors import DataLoss, FailedPrecondition, NotFound
from memdb.store.manifest_file import is_archive

EXPORT_FORMAT: Final = 2
"""The highest that is read."""
_FORMAT_OF_HOLDS: Final = 2
"""Of an export with a legal hold: who does not know holds has to refuse it, not to lose them."""
DESCRIPTION: Final = "export.json"
CLIPS: Final = "clips.parquet"
FACTS: Final = "facts.parquet"
VALUES: Final = "values.parquet"
TAKEN: Final = "taken.parquet"
"""Only where a number is."""
STANDING: Final = "standing.parquet"
"""Not in exports of earlier releases, nor where the questions could not be read."""
BATCH: Final = 64
"""Clips of a row group."""
_OWN_DIGEST: Final = "sha256"
"""Of the description itself: a policy or a zone that one byte hides would be lost without a word."""
_DESCRIPTION_BYTES_MAX: Final = 64 << 20
_FILE_NAME: Final = re.compile(r"\A[a-z][a-z0-9-]{0,63}\.(?:parquet|safetensors)\Z")

READ_ERRORS: Final = (
    pa.ArrowException,
    SafetensorError,
    KeyError,
    TypeError,
    ValueError,  # of JSON and UTF-8, too
    RecursionError,
    OSError,
)
"""What reading a file that is not one of ours raises."""


def _structs(*fields: tuple[str, Any]) -> Any:
    return pa.list_(pa.struct([pa.field(name, kind) for name, kind in fields]))


CLIP_SCHEMA: Final = pa.schema(
    [
        ("id", pa.string()),
        ("stream", pa.string()),
        ("epoch", pa.int64()),
        ("seq", pa.int64()),
        ("start_ns", pa.int64()),
        ("end_ns", pa.int64()),
        ("sealed", pa.bool_()),
        ("revision", pa.int64()),
        ("frames_per_token_row", pa.float64()),
        (
            "transcript",
            _structs(
                ("start_ns", pa.int64()),
                ("end_ns", pa.int64()),
                ("text", pa.string()),
                ("speaker", pa.string()),
                ("language", pa.string()),
            ),
        ),
        (
            "events",
            _structs(
                ("start_ns", pa.int64()),
                ("end_ns", pa.int64()),
                ("label", pa.string()),
                ("score", pa.float64()),
            ),
        ),
        ("labels", _structs(("key", pa.string()), ("value", pa.string()))),
        ("keyframes", _structs(("time_ns", pa.int64()), ("jpeg", pa.binary()))),
        ("tensors", pa.string()),
        ("has_short_memory", pa.bool_()),
    ]
)
FACT_SCHEMA: Final = pa.schema(
    [
        ("id", pa.string()),
        ("text", pa.string()),
        ("about", pa.list_(pa.string())),
        ("key", pa.string()),
        ("valid_from_ns", pa.int64()),
        ("valid_to_ns", pa.int64()),
        ("evidence", pa.list_(pa.string())),
        ("revision", pa.int64()),
        ("written_ns", pa.int64()),
    ]
)
VALUE_SCHEMA: Final = pa.schema(
    [("key", pa.string()), ("json", pa.string()), ("revision", pa.int64())]
)
TAKEN_SCHEMA: Final = pa.schema(
    [
        ("stream", pa.string()),
        ("epoch", pa.int64()),
        ("first_seq", pa.int64()),
        ("last_seq", pa.int64()),
    ]
)
STANDING_SCHEMA: Final = pa.schema(
    [
        ("kind", pa.string()),
        ("space", pa.string()),
        ("streams", pa.list_(pa.string())),
        ("min_score", pa.float64()),
        ("min_relevance", pa.float64()),
        ("window_s", pa.float64()),
        ("sealed_only", pa.bool_()),
        ("text", pa.string()),
        ("dtype", pa.string()),
        ("feature", pa.list_(pa.float32())),
        ("then_dtype", pa.string()),
        ("then_feature", pa.list_(pa.float32())),
        ("revision", pa.int64()),
        ("created_ns", pa.int64()),
        ("name", pa.string()),
        (
            "labels",
            pa.list_(
                pa.struct(
                    [
                        ("key", pa.string()),
                        ("values", pa.list_(pa.string())),
                        ("other", pa.bool_()),
                    ]
                )
            ),
        ),
        ("hours", pa.list_(pa.list_(pa.string()))),
        ("weekdays", pa.list_(pa.int64())),
        ("zone", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What an export wrote."""

    path: str
    user: str
    revision: int
    clips: int
    facts: int
    """Versions."""
    values: int
    """Versions."""
    bytes_written: int
    damaged: int
    """Clips that are left out because they could not be read whole."""
    standing: int | None
    """Standing questions; None where they are left out because they could not be read."""
    policies: int
    """Streams with a retention policy or under legal hold."""


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did; the second time nothing."""

    user: str
    clips_written: int
    clips_present: int
    facts_written: int
    """Versions."""
    facts_present: int
    values_written: int
    """Versions."""
    values_present: int
    evidence_dropped: int
    """References to clips that the export does not hold."""
    standing_written: int
    """Standing questions."""
    standing_present: int
    numbers_taken: int
    """Numbers of clips that were given up or erased, which no other clip gets."""
    numbers_left: int
    """Such numbers that are gaps of the copy, because their stream was under legal hold there."""
    policies_written: int
    """Streams whose retention policy or legal hold was set."""


def describe(folder: Path, described: dict[str, Any]) -> None:
    """Write the description of an export that is otherwise complete."""
    files = {
        path.name: {"bytes": path.stat().st_size, "sha256": _digest(path)}
        for path in sorted(folder.iterdir())
    }
    policies = (stream["retention"] for stream in described["streams"])
    is_held = any(policy is not None and policy["hold"] for policy in policies)
    version = _FORMAT_OF_HOLDS if is_held else 1
    document = {"memdb_export": version, **described, "files": files}
    document[_OWN_DIGEST] = _own_digest(document)
    (folder / DESCRIPTION).write_text(json.dumps(document, indent=1) + "\n", "utf-8")


def described(folder: Path) -> dict[str, Any]:
    """The description of an export, all of whose files are as they were written.

    Raises `NotFound` (``NOT_AN_EXPORT``), `FailedPrecondition` (``FORMAT_NEWER``; ``UNREADABLE`` where
    the system does not let it be read), `DataLoss` naming the file.
    """
    try:
        return _described(folder)
    except OSError as error:
        raise FailedPrecondition(
            f"cannot be read: {error.strerror}",
            reason="UNREADABLE",
            field="export",
            value=str(folder),
        ) from error


def _described(folder: Path) -> dict[str, Any]:
    path = folder / DESCRIPTION
    if not path.is_file():
        raise NotFound(
            f"no export here: there is no {DESCRIPTION}"
            + ("; of an archive `memdb restore` makes a directory" if is_archive(folder) else ""),
            reason="NOT_AN_EXPORT",
            field="export",
            value=str(folder),
        )
    try:
        if path.stat().st_size > _DESCRIPTION_BYTES_MAX:
            raise _damaged(DESCRIPTION)
        document: dict[str, Any] = json.loads(path.read_bytes())
        version = document["memdb_export"]
        files = dict(document["files"])
        spaces, streams = list(document["spaces"]), list(document["streams"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(DESCRIPTION) from error
    if not isinstance(version, int) or version > EXPORT_FORMAT:
        raise FailedPrecondition(
            f"written by a newer memdb (this one reads up to {EXPORT_FORMAT})",
            reason="FORMAT_NEWER",
            field="memdb_export",
            value=version,
        )
    if _OWN_DIGEST in document and document[_OWN_DIGEST] != _own_digest(document):
        raise _damaged(DESCRIPTION)
    if not {CLIPS, FACTS, VALUES} <= files.keys() or not (
        all(isinstance(item, dict) for item in [*files.values(), *spaces, *streams])
    ):
        raise _damaged(DESCRIPTION)
    for name, file in files.items():
        whole = (
            _FILE_NAME.match(name) is not None
            and (folder / name).is_file()
            and (folder / name).stat().st_size == file.get("bytes")
            and _digest(folder / name) == file.get("sha256")
        )
        if not whole:
            raise _damaged(name)
    return document


def _own_digest(document: dict[str, Any]) -> str:
    """SHA-256 of everything else that a description says, in one spelling."""
    others = {key: value for key, value in document.items() if key != _OWN_DIGEST}
    spelled = json.dumps(others, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(spelled.encode()).hexdigest()


def _damaged(name: str) -> DataLoss:
    return DataLoss("the bytes are not those that were written", reason="CHECKSUM", field=name)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
