"""What stands in the way of an export, and exports that are not as they should be."""

from __future__ import annotations

import errno
import json
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="the extra memdb[export] is not installed")

import pyarrow as pa
from pyarrow import parquet

from memdb import (
    AlreadyExists,
    DataLoss,
    FailedPrecondition,
    Keyframe,
    MemdbError,
    ResourceExhausted,
)
from memdb.config import EngineConfig
from memdb.engine import lateness
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.stream import EmbeddedStream
from memdb.engine.user import EmbeddedUser
from memdb.portable import exporter, importer, layout
from memdb.portable.exporter import export_user
from memdb.portable.importer import import_user
from memdb.store.files import sync_directory
from memdb.types.clip import Ack, Clip

CONFIG = EngineConfig(map_bytes_initial=1 << 20, disk_free_bytes_min=1 << 20)
CLIPS = 3


@pytest.fixture
def db(tmp_path: Path) -> Iterator[EmbeddedDatabase]:
    with EmbeddedDatabase(tmp_path / "data", config=CONFIG) as opened:
        opened.create_space("cam", dim=8)
        yield opened


def door_clip(seq: int) -> Clip:
    return Clip(
        seq=seq, start_ns=seq * 10, end_ns=seq * 10 + 10, global_memory=np.ones(8, np.float32)
    )


def fill(db: EmbeddedDatabase) -> EmbeddedUser:
    user = db.user("alice")
    for seq in range(CLIPS):
        user.stream("door", space="cam").write(
            Clip(
                seq=seq,
                start_ns=seq * 10,
                end_ns=seq * 10 + 10,
                global_memory=np.ones(8, np.float32),
                short_memory=np.full((4000, 8), seq, np.float16),
                keyframes=(Keyframe(0, b"x" * 100),),
            )
        )
    user.remember("the mug is blue")
    user.put("diet", "fish")
    return user


def rewrite(export: Path, file: str, schema: Any, change: dict[str, Any]) -> None:
    """Change the first row of a file, and its checksum with it."""
    rows = parquet.read_table(export / file).to_pylist()
    rows[0] |= change
    parquet.write_table(pa.Table.from_pylist(rows, schema), export / file)
    describe_again(export)


def describe_again(export: Path) -> None:
    description = export / layout.DESCRIPTION
    document = json.loads(description.read_text())
    del document["sha256"]
    description.unlink()
    layout.describe(export, document)
    found = json.loads(description.read_text())
    description.write_text(json.dumps(document | {"files": found["files"]}))


def test_an_export_leaves_free_what_has_to_stay_free(db: EmbeddedDatabase, tmp_path: Path) -> None:
    fill(db)
    full = EngineConfig(disk_free_bytes_min=1 << 60)
    with pytest.raises(ResourceExhausted) as refused:
        export_user(db, "alice", tmp_path / "export", config=full)
    assert (refused.value.reason, refused.value.field) == ("DISK_FULL", "free_bytes")
    assert [entry.name for entry in tmp_path.iterdir()] == ["data"]
    export_user(db, "alice", tmp_path / "export", config=CONFIG)


@pytest.mark.parametrize("text", ["{not", "[" * 100_000, ""], ids=["broken", "deep", "empty"])
def test_a_value_that_is_no_json(db: EmbeddedDatabase, tmp_path: Path, text: str) -> None:
    fill(db)
    export_user(db, "alice", tmp_path / "export")
    rewrite(tmp_path / "export", layout.VALUES, layout.VALUE_SCHEMA, {"json": text})
    with pytest.raises(DataLoss) as refused:
        import_user(db, tmp_path / "export", user="bob")
    assert (refused.value.reason, refused.value.field) == ("BAD_EXPORT", layout.VALUES)
    assert db.users() == ["alice"]


@pytest.mark.parametrize("name", ["..", "", "other.safetensors", "../data/SECRET", "a\0b"])
def test_tensors_in_a_file_that_nobody_described(
    db: EmbeddedDatabase, tmp_path: Path, name: str
) -> None:
    fill(db)
    export = tmp_path / "export"
    export_user(db, "alice", export)
    rewrite(export, layout.CLIPS, layout.CLIP_SCHEMA, {"tensors": name})
    # There, and readable, but its checksum was never told.
    (export / "other.safetensors").write_bytes((export / "tensors-00000.safetensors").read_bytes())
    with pytest.raises(DataLoss) as refused:
        import_user(db, export, user="bob")
    assert refused.value.reason == "BAD_EXPORT"


def test_a_tensor_file_that_is_none(db: EmbeddedDatabase, tmp_path: Path) -> None:
    fill(db)
    export = tmp_path / "export"
    export_user(db, "alice", export)
    (export / "tensors-00000.safetensors").write_bytes(b"\xff" * 100)
    describe_again(export)
    with pytest.raises(DataLoss) as refused:
        import_user(db, export, user="bob")
    assert refused.value.reason == "BAD_EXPORT"


def test_a_description_that_is_too_deep(db: EmbeddedDatabase, tmp_path: Path) -> None:
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / layout.DESCRIPTION).write_text("[" * 100_000)
    with pytest.raises(DataLoss) as refused:
        import_user(db, tmp_path / "export")
    assert (refused.value.reason, refused.value.field) == ("CHECKSUM", layout.DESCRIPTION)


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


@pytest.mark.parametrize("size", [1000, 50_000], ids=["rows", "tensors"])
def test_what_cannot_be_written_is_one_of_our_errors(
    db: EmbeddedDatabase, tmp_path: Path, size: int
) -> None:
    fill(db)
    with files_of_at_most(size), pytest.raises(MemdbError) as refused:
        export_user(db, "alice", tmp_path / "export")
    assert refused.value.field == "path"
    assert isinstance(refused.value.__cause__, OSError)
    assert refused.value.__cause__.errno == errno.EFBIG
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_something_that_comes_to_lie_there_is_not_replaced(
    db: EmbeddedDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(db)
    target = tmp_path / "export"

    def meanwhile(path: Path) -> None:
        target.mkdir(exist_ok=True)
        (target / "precious").touch()
        sync_directory(path)

    monkeypatch.setattr(exporter, "sync_directory", meanwhile)
    with pytest.raises(AlreadyExists) as refused:
        export_user(db, "alice", target)
    assert refused.value.reason == "PATH_EXISTS"
    assert [path.name for path in target.iterdir()] == ["precious"]


def test_a_clip_that_is_erased_meanwhile_is_left_out(
    db: EmbeddedDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = fill(db)
    second = user.clips()[1].id
    row = exporter._clip_row

    def meanwhile(*args: Any, **options: Any) -> dict[str, Any]:
        if any(clip.id == second for clip in user.clips()):
            user.erase_clips([second])
        return row(*args, **options)

    monkeypatch.setattr(exporter, "_clip_row", meanwhile)
    report = export_user(db, "alice", tmp_path / "export")
    assert (report.clips, report.damaged) == (CLIPS - 1, 0)
    assert import_user(db, tmp_path / "export", user="bob").clips_written == CLIPS - 1
    # Its number is none that never came.
    assert db.user("bob").stream("door").gaps() == []


def test_a_number_that_comes_meanwhile_is_not_taken_for_one_that_was_erased(
    db: EmbeddedDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = fill(db)
    door = user.stream("door")
    door.write(sent := door_clip(CLIPS + 4))
    row = exporter._clip_row

    def meanwhile(*args: Any, **options: Any) -> dict[str, Any]:
        for seq in (CLIPS + 1, CLIPS + 5):  # one that was missing, and one behind all
            door.write(replace(sent, seq=seq))
        return row(*args, **options)

    monkeypatch.setattr(exporter, "_clip_row", meanwhile)
    export_user(db, "alice", tmp_path / "export")
    assert not (tmp_path / "export" / layout.TAKEN).exists()
    report = import_user(db, tmp_path / "export", user="bob")
    assert (report.clips_written, report.numbers_taken) == (CLIPS + 1, 0)
    copy = db.user("bob").stream("door")
    assert [(gap.first_seq, gap.last_seq) for gap in copy.gaps()] == [(CLIPS, CLIPS + 3)]
    assert not copy.write(replace(sent, seq=CLIPS + 5)).duplicate


@pytest.mark.parametrize(
    "wrong",
    [
        {"first_seq": -1},
        {"first_seq": 1, "last_seq": 0},
        {"epoch": 2**32},
        {"stream": "no"},
    ],
    ids=["negative", "backwards", "epoch", "stream"],
)
def test_runs_of_numbers_that_are_none(
    db: EmbeddedDatabase, tmp_path: Path, wrong: dict[str, Any]
) -> None:
    user = fill(db)
    user.erase_clips([user.clips()[0].id])
    export_user(db, "alice", tmp_path / "export")
    rewrite(tmp_path / "export", layout.TAKEN, layout.TAKEN_SCHEMA, wrong)
    with pytest.raises(DataLoss) as refused:
        import_user(db, tmp_path / "export", user="bob")
    assert (refused.value.reason, refused.value.field) == ("BAD_EXPORT", layout.TAKEN)
    assert db.users() == ["alice"]


def damage(path: Path, table: str) -> None:
    """Flip a bit of the first value of a table."""
    with (
        lmdb.open(str(path), max_dbs=32, map_size=1 << 30) as env,
        env.begin(write=True, db=env.open_db(table.encode(), create=False)) as txn,
    ):
        key, value = next(iter(txn.cursor()))
        txn.put(key, value[:-3] + bytes([value[-3] ^ 8]) + value[-2:])


def test_a_damaged_clip_costs_itself_and_is_counted(tmp_path: Path) -> None:
    with EmbeddedDatabase(tmp_path / "data", config=CONFIG) as db:
        db.create_space("cam", dim=8)
        fill(db)
        path = db._directory.user_path("alice")
    damage(path, "short_memory")
    with EmbeddedDatabase(tmp_path / "data", config=CONFIG) as db:
        report = export_user(db, "alice", tmp_path / "export")
        assert (report.clips, report.damaged) == (CLIPS - 1, 1)
        document = json.loads((tmp_path / "export" / layout.DESCRIPTION).read_text())
        assert document["damaged"] == 1
        assert import_user(db, tmp_path / "export", user="bob").clips_written == CLIPS - 1
        # It may come from elsewhere: its number is missing, not taken.
        assert len(db.user("bob").stream("door").gaps()) == 1


def test_an_export_that_may_not_be_read(
    db: EmbeddedDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(db)
    export_user(db, "alice", tmp_path / "export")

    def refused(_path: Path) -> str:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(layout, "_digest", refused)
    with pytest.raises(FailedPrecondition) as unreadable:
        import_user(db, tmp_path / "export", user="bob")
    assert unreadable.value.reason == "UNREADABLE"


def test_an_import_opens_no_gap_that_the_export_has_not(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With as many gaps as there may be, a number that is taken late would be one too many."""
    monkeypatch.setattr(lateness, "GAPS_MAX", 20)
    numbers = [*range(1, 40, 2), *range(40, 400)]
    user = db.user("alice")
    door = user.stream("door", space="cam")
    acks = [door.write(clip) for clip in map(_bare, numbers)]
    user.erase_clips([ack.clip_id for ack in acks[25::3]])
    gaps = [(gap.first_seq, gap.last_seq) for gap in door.gaps()]
    assert len(gaps) == 20
    export_user(db, "alice", tmp_path / "export")
    report = import_user(db, tmp_path / "export", user="bob")
    copy = db.user("bob").stream("door")
    assert [(gap.first_seq, gap.last_seq) for gap in copy.gaps()] == gaps
    assert report.numbers_taken == len(acks[25::3])
    assert len(db.user("bob").clips(limit=1000)) == len(numbers) - report.numbers_taken


def _bare(seq: int) -> Clip:
    start_ns = seq * 10**9
    memory = np.eye(1, 8, dtype=np.float32)[0]
    return Clip(seq=seq, start_ns=start_ns, end_ns=start_ns + 10**9, global_memory=memory)


def test_an_import_holds_no_more_than_a_commit_takes(
    db: EmbeddedDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = np.ones((1024, 8), np.float16)
    db.user("alice").stream("door", space="cam").write_many(
        [replace(door_clip(seq), short_memory=memory) for seq in range(12)]
    )
    export_user(db, "alice", tmp_path / "export")
    held: list[int] = []
    write_many = EmbeddedStream.write_many

    def written(stream: EmbeddedStream, clips: list[Clip]) -> list[Ack]:
        held.append(len(clips))
        return write_many(stream, clips)

    monkeypatch.setattr(EmbeddedStream, "write_many", written)
    monkeypatch.setattr(importer, "BATCH_BYTES_MAX", 4 * memory.nbytes)
    report = import_user(db, tmp_path / "export", user="bob")
    assert (report.clips_written, held) == (12, [4, 4, 4])
