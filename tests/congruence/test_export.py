"""Export and import over every transport: what comes back says the same, and once."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from memdb import (
    AlreadyExists,
    DataLoss,
    FailedPrecondition,
    NotFound,
    Retention,
)
from memdb.types.database import Database, Stream, User
from tests.congruence.media import clip

pytest.importorskip("pyarrow", reason="the extra memdb[export] is not installed")
pytest.importorskip("safetensors", reason="the extra memdb[export] is not installed")

from pyarrow import parquet

from tests.congruence.exported import everything, fill, full_clip

pytestmark = pytest.mark.congruence


def test_a_user_comes_back_under_another_name_and_only_once(
    db: Database, user: User, tmp_path: Path
) -> None:
    from memdb.portable.exporter import export_user
    from memdb.portable.importer import import_user

    fill(db, user)
    report = export_user(db, "alice", tmp_path / "export")
    assert (report.clips, report.facts, report.values, report.standing) == (8, 6, 3, 5)
    assert report.revision == user.revision()

    first = import_user(db, tmp_path / "export", user="bob")
    assert (first.clips_written, first.facts_written, first.values_written) == (8, 6, 3)
    assert first.evidence_dropped == 0
    assert (first.standing_written, first.standing_present) == (5, 0)
    assert everything(db.user("bob")) == everything(user)
    revision = db.user("bob").revision()
    assert db.verify().ok

    again = import_user(db, tmp_path / "export", user="bob")
    assert (again.clips_written, again.facts_written, again.values_written) == (0, 0, 0)
    assert (again.clips_present, again.facts_present, again.values_present) == (8, 6, 3)
    assert (again.standing_written, again.standing_present) == (0, 5)
    assert db.user("bob").revision() == revision
    # Nor into the user that it came from.
    home = import_user(db, tmp_path / "export")
    assert (home.clips_written, home.facts_written, home.values_written) == (0, 0, 0)
    assert home.standing_written == 0
    # What is asked anew is asked of clips to come: nothing of what was imported is told.
    assert list(db.user("bob").standing.watch(follow=False)) == []


def test_an_import_that_was_broken_off_is_repeated(
    db: Database, user: User, tmp_path: Path
) -> None:
    from memdb.portable.exporter import export_user
    from memdb.portable.importer import import_user

    fill(db, user)
    export_user(db, "alice", tmp_path / "export")
    bob = db.user("bob")
    bob.stream("door", space="clip").write(full_clip(0))
    bob.remember(
        "lives in Bern",
        key="home",
        valid_from=user.history(next(f.id for f in user.facts() if f.key == "home"))[
            0
        ].valid_from_ns,
    )
    bob.put("diet", {"n": 1})
    report = import_user(db, tmp_path / "export", user="bob")
    assert (report.clips_present, report.facts_present, report.values_present) == (1, 1, 1)
    assert sorted(map(repr, everything(bob)[1])) == sorted(map(repr, everything(user)[1]))  # type: ignore[call-overload]
    assert everything(bob)[0] == everything(user)[0]


def test_policies_and_holds_come_along(db: Database, user: User, tmp_path: Path) -> None:
    from memdb.portable.exporter import export_user
    from memdb.portable.importer import import_user

    fill(db, user)
    export_user(db, "alice", tmp_path / "without")
    limits = Retention(max_age_s=3600, max_clips=100, max_bytes=0, short_memory_age_s=60)
    user.stream("yard").set_retention(limits)
    export_user(db, "alice", tmp_path / "limits")
    user.stream("door").set_retention(Retention(keyframes_age_s=5, hold=True))
    report = export_user(db, "alice", tmp_path / "held")
    assert report.policies == 2
    # Who does not know holds would lose one: it refuses the export instead, and no other.
    formats = [
        json.loads((tmp_path / name / "export.json").read_text())["memdb_export"]
        for name in ("without", "limits", "held")
    ]
    assert formats == [1, 1, 2]

    first = import_user(db, tmp_path / "held", user="bob")
    bob = db.user("bob")
    assert first.policies_written == 2
    for stream in user.streams():
        assert bob.stream(stream.name).retention() == user.stream(stream.name).retention()
    with pytest.raises(FailedPrecondition) as held:
        bob.stream("door").erase()
    assert held.value.reason == "LEGAL_HOLD"
    revision = bob.revision()
    assert import_user(db, tmp_path / "held", user="bob").policies_written == 0
    assert bob.revision() == revision

    # A policy that is there stays, and so does a hold; one that comes is added.
    bob.stream("door").set_retention(Retention(max_clips=7))
    bob.stream("yard").set_retention(Retention(hold=True))
    assert import_user(db, tmp_path / "held", user="bob").policies_written == 2
    assert bob.stream("door").retention() == Retention(max_clips=7, hold=True)
    assert bob.stream("yard").retention() == replace(limits, hold=True)
    assert import_user(db, tmp_path / "without", user="bob").policies_written == 0
    assert bob.stream("door").retention().hold


@pytest.mark.parametrize("wrong", ["all", {"max_clips": 0}, {"hold": 1}, {"colour": 3}], ids=repr)
def test_a_policy_that_is_none_is_refused(
    db: Database, user: User, tmp_path: Path, wrong: object
) -> None:
    from memdb.portable.exporter import export_user
    from memdb.portable.importer import import_user

    user.stream("door", space="clip").write(clip(0))
    export_user(db, "alice", tmp_path / "export")
    document = json.loads((tmp_path / "export" / "export.json").read_text())
    document["streams"][0]["retention"] = wrong
    del document["sha256"]
    (tmp_path / "export" / "export.json").write_text(json.dumps(document))
    with pytest.raises(DataLoss) as damaged:
        import_user(db, tmp_path / "export", user="bob")
    assert (damaged.value.reason, damaged.value.field) == ("BAD_EXPORT", "export.json")
    assert db.users() == ["alice"]


def test_other_programs_can_read_it(db: Database, user: User, tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    from memdb.portable.exporter import export_user

    fill(db, user)
    export_user(db, "alice", tmp_path / "export")
    rows = parquet.read_table(tmp_path / "export" / "clips.parquet").to_pylist()
    tensors = load_file(tmp_path / "export" / rows[0]["tensors"])
    stored = {item.id: item for item in user.clips()}
    assert {row["id"] for row in rows} == set(stored)
    for row in rows:
        vector = tensors[f"{row['id']}.global_memory"]
        assert np.array_equal(vector, stored[row["id"]].global_memory)
    document = json.loads((tmp_path / "export" / "export.json").read_text())
    assert document["memdb_export"] == 1
    assert document["user"] == "alice"


def test_what_is_wrong_is_refused_before_anything_is_written(
    db: Database, user: User, door: Stream, tmp_path: Path
) -> None:
    from memdb.portable.exporter import export_user
    from memdb.portable.importer import import_user

    fill(db, user)
    export = tmp_path / "export"
    export_user(db, "alice", export)
    with pytest.raises(AlreadyExists):
        export_user(db, "alice", export)
    with pytest.raises(NotFound):
        export_user(db, "nobody", tmp_path / "other")
    with pytest.raises(NotFound) as nothing:
        import_user(db, tmp_path / "other", user="bob")
    assert nothing.value.reason == "NOT_AN_EXPORT"
    for file in sorted(export.iterdir()):
        if file.name == "export.json":
            continue
        content = file.read_bytes()
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(DataLoss) as damaged:
            import_user(db, export, user="bob")
        assert damaged.value.field == file.name
        file.write_bytes(content)
    description = export / "export.json"
    content = description.read_bytes()
    for name in (b'"retention"', b'"zone"', b'"text_space"', b'"memdb_export": '):
        description.write_bytes(content.replace(name, name[:2] + bytes([name[2] ^ 1]) + name[3:]))
        with pytest.raises(DataLoss) as damaged:
            import_user(db, export, user="bob")
        assert damaged.value.field == "export.json"
    document = json.loads(content)
    description.write_text(json.dumps(document | {"memdb_export": 3}))
    with pytest.raises(FailedPrecondition) as newer:
        import_user(db, export, user="bob")
    assert newer.value.reason == "FORMAT_NEWER"
    assert db.users() == ["alice"]
