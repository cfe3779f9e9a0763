"""Standing questions of an export: known again by name or by what they ask, also of earlier releases."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from memdb import (
    AlreadyExists,
)
from memdb.types.database import Database, User
from tests.congruence.media import vector

pytest.importorskip("pyarrow", reason="the extra memdb[export] is not installed")
pytest.importorskip("safetensors", reason="the extra memdb[export] is not installed")

from pyarrow import parquet

from tests.congruence.exported import everything, fill

pytestmark = pytest.mark.congruence


def test_an_export_of_an_earlier_release_has_no_questions(
    db: Database, user: User, tmp_path: Path
) -> None:
    from memdb.portable.exporter import export_user
    from memdb.portable.importer import import_user

    fill(db, user)
    export = tmp_path / "export"
    export_user(db, "alice", export)
    (export / "standing.parquet").unlink()
    document = json.loads((export / "export.json").read_text())
    del document["files"]["standing.parquet"], document["standing"], document["sha256"]
    for stream in document["streams"]:
        del stream["retention"]
    (export / "export.json").write_text(json.dumps(document))

    report = import_user(db, export, user="bob")

    assert (report.clips_written, report.standing_written, report.standing_present) == (8, 0, 0)


def test_a_question_without_a_column_for_its_name_is_known_by_what_it_asks(
    db: Database, user: User, tmp_path: Path
) -> None:
    """As an earlier release wrote it, read into the user that it came from."""
    from memdb.portable.exporter import export_user
    from memdb.portable.importer import import_user

    fill(db, user)
    export = tmp_path / "export"
    export_user(db, "alice", export)
    without_columns(export, ["name"])

    home = import_user(db, export)
    assert (home.standing_written, home.standing_present) == (0, 5)
    away = import_user(db, export, user="bob")
    assert away.standing_written == 5
    assert [one.name for one in db.user("bob").standing.list()] == [None] * 5


def test_questions_of_a_release_that_knew_no_filters_look_at_every_clip(
    db: Database, user: User, tmp_path: Path
) -> None:
    from memdb.portable.exporter import export_user
    from memdb.portable.importer import import_user

    fill(db, user)
    export = tmp_path / "export"
    export_user(db, "alice", export)
    without_columns(export, ["labels", "hours", "weekdays", "zone"])

    assert import_user(db, export, user="bob").standing_written == 5
    asked = db.user("bob").standing.list()
    assert {(one.labels, one.hours, one.weekdays, one.zone) for one in asked} == {(None,) * 4}
    assert import_user(db, export, user="bob").standing_written == 0


def without_columns(export: Path, names: list[str]) -> None:
    """As an earlier release wrote its questions."""

    file = export / "standing.parquet"
    parquet.write_table(parquet.read_table(file).drop_columns(names), file)
    described_anew(export)


def described_anew(export: Path) -> None:
    """The questions of an export are others now."""
    document = json.loads((export / "export.json").read_text())
    content = (export / "standing.parquet").read_bytes()
    described = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    document["files"]["standing.parquet"] = described
    del document["sha256"]
    (export / "export.json").write_text(json.dumps(document))


def test_a_cosine_beyond_what_there_is_of_an_earlier_release_comes_along(
    db: Database, user: User, tmp_path: Path
) -> None:
    """Such a question is refused now; an import of many is not, for its sake."""
    from pyarrow import compute

    from memdb.portable.exporter import export_user
    from memdb.portable.importer import import_user

    fill(db, user)
    export = tmp_path / "export"
    export_user(db, "alice", export)
    file = export / "standing.parquet"
    table = parquet.read_table(file)
    place = table.schema.get_field_index("min_score")
    larger = compute.add(table["min_score"], 2.0)
    parquet.write_table(table.set_column(place, "min_score", larger), file)
    described_anew(export)

    assert import_user(db, export, user="bob").standing_written == 5
    least = [one.min_score for one in db.user("bob").standing.list()]
    assert least == [1.00001, 1.00001, None, 1.0, 5.0]
    assert import_user(db, export, user="bob").standing_written == 0


def test_a_name_that_asks_something_else_is_not_taken_over(
    db: Database, user: User, tmp_path: Path
) -> None:
    from memdb.portable.exporter import export_user
    from memdb.portable.importer import import_user

    fill(db, user)
    export_user(db, "alice", tmp_path / "export")
    bob = db.user("bob")
    bob.stream("door", space="clip").create()
    other = bob.standing.create(vector(2), min_score=0.5, name="mug")
    with pytest.raises(AlreadyExists) as refused:
        import_user(db, tmp_path / "export", user="bob")
    assert (refused.value.reason, refused.value.value) == ("NAME_TAKEN", "mug")
    bob.standing.remove(other.id)
    assert import_user(db, tmp_path / "export", user="bob").standing_written == 5
    assert everything(bob)[5] == everything(user)[5]
