"""Export and import over every transport: what comes back says the same, and once."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from memdb import (
    AlreadyExists,
    Clip,
    DataLoss,
    FailedPrecondition,
    Keyframe,
    Not,
    NotFound,
    Retention,
    SoundEvent,
    StoredClip,
    Utterance,
)
from memdb.types.database import Database, Stream, User
from memdb.types.limits import LATE_SEQ_MAX
from tests.congruence.media import clip, vector

pytest.importorskip("pyarrow", reason="the extra memdb[export] is not installed")
pytest.importorskip("safetensors", reason="the extra memdb[export] is not installed")

from pyarrow import parquet

pytestmark = pytest.mark.congruence


def full_clip(seq: int) -> Clip:
    """A clip that carries something of everything."""
    made = np.random.default_rng(seq)
    return clip(
        seq,
        vector(1, seq).astype(np.float16 if seq % 2 else np.float32),
        short_memory=made.standard_normal((8, 4)).astype(np.float16),
        frames_per_token_row=0.25,
        transcript=(Utterance(1, 2, f"says {seq}", "Ann", "en"), Utterance(3, 4, "more")),
        events=(SoundEvent(1, 2, "dog", 0.5),),
        keyframes=(Keyframe(5, made.bytes(50)), Keyframe(6, b"b")),
        labels={"zone": "porch", "empty": ""},
    )


def said(clip: StoredClip, short: object) -> tuple[object, ...]:
    """All that a clip says, but its ids."""
    return (
        clip.stream, clip.epoch, clip.seq, clip.start_ns, clip.end_ns, clip.sealed,
        clip.frames_per_token_row, clip.transcript, clip.events, clip.keyframes, dict(clip.labels),
        str(clip.global_memory.dtype), clip.global_memory.tobytes(), short,
    )  # fmt: skip


def everything(user: User) -> tuple[object, ...]:
    """All that a user's memory says."""
    clips = user.clips()
    shorts: list[bytes | None] = []
    for item in clips:
        try:
            shorts.append(user.short_memory([item.id])[0].tobytes())
        except NotFound:
            shorts.append(None)
    numbers = {item.id: (item.stream, item.epoch, item.seq) for item in clips}
    facts = [
        [
            (
                f.text,
                f.about,
                f.key,
                f.valid_from_ns,
                f.valid_to_ns,
                [numbers[e] for e in f.evidence],
            )
            for f in user.history(fact.id)
        ]
        for fact in user.facts()
    ]
    streams = [(stream.name, stream.space, stream.zone) for stream in user.streams()]
    said_all = sorted(map(said, clips, shorts), key=repr)
    asked = [
        (
            (one.kind, one.space, one.text, one.window_s, one.sealed_only, one.name),
            (one.min_score, one.min_relevance, one.streams and sorted(one.streams)),
            (str(one.feature.dtype), one.feature.tolist()),
            (one.labels, one.hours, one.weekdays, one.zone),
            None if one.then_feature is None else one.then_feature.tolist(),
        )
        for one in user.standing.list()
    ]
    return said_all, facts, user.get("diet"), user.text_space(), streams, asked


def fill(db: Database, user: User) -> None:
    """Something of everything."""
    user.configure(text_space="clip")
    door = user.stream("door", space="clip")
    acks = [door.write(full_clip(seq)) for seq in range(5)]
    door.write(clip(5, sealed=False))
    door.write(clip(0, epoch=3))
    user.stream("empty", space="clip").create(zone="Asia/Kolkata")
    user.stream("yard", space="clip").write(clip(7))
    loose = user.remember("the mug is blue", about=["mug"], evidence=[acks[1].clip_id])
    user.revise(loose.id, text="the mug is red", valid_to=2 * 10**18)
    user.revise(loose.id, valid_to="open")
    user.remember("the mug is blue", about=["mug"], evidence=[acks[1].clip_id])
    user.remember("lives in Bern", key="home")
    user.remember("lives in Basel", key="home")
    user.forget(user.remember("nobody knows").id)
    user.put("password", "secret")
    user.remove("password")
    user.put("diet", "secret")
    user.remove("diet")
    for value in ({"n": 1}, {"n": 2}, {"n": 1}):
        user.put("diet", value)
    db.create_space("sound", dim=2, metric="dot")
    ask = user.standing.create
    ask(vector(1), min_score=0.5, text="the mug", window_s=2.5, name="mug")
    ask(vector(1), min_score=0.5, text="the mug", window_s=2.5)
    ask(
        vector(1).astype(np.float16),
        min_relevance=0.9,
        streams=["yard", "door"],
        space="clip",
        labels={"zone": ["porch", "drive"], "light": Not("day", "dusk")},
        hours=[("22:00", "06:30:15"), ("12:00", "24:00")],
        weekdays=["sun", "mon"],
        zone="Europe/Berlin",
    )
    ask(vector(1), min_score=-1, kind="sequence", then_feature=vector(0, 1), window_s=1e-3)
    ask(
        np.ones(2, np.float32),
        min_score=3,
        kind="absent",
        window_s=60,
        space="sound",
        sealed_only=False,
    )


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


def test_numbers_that_are_taken_are_no_gaps_of_the_copy(
    db: Database, user: User, tmp_path: Path
) -> None:
    from memdb.portable.exporter import export_user
    from memdb.portable.importer import import_user

    door, yard = user.stream("door", space="clip"), user.stream("yard", space="clip")
    planted = {"name": "secret-of-alice"}
    acks = [door.write(clip(seq, labels=planted)) for seq in (*range(14), 17, 18)]
    door.write(clip(3, epoch=2))
    door.write(clip(19, sealed=False))
    user.erase_clips([acks[seq].clip_id for seq in (*range(10), 11, 15)])
    lost = [yard.write(clip(seq)) for seq in range(3)]
    user.erase_clips([ack.clip_id for ack in lost])
    gaps = [(gap.epoch, gap.first_seq, gap.last_seq) for gap in door.gaps()]
    assert gaps == [(0, 14, 16), (2, 0, 2)]

    export_user(db, "alice", tmp_path / "export")
    rows = parquet.read_table(tmp_path / "export" / "taken.parquet").to_pylist()
    assert rows == [
        {"stream": "door", "epoch": 0, "first_seq": 0, "last_seq": 9},
        {"stream": "door", "epoch": 0, "first_seq": 11, "last_seq": 11},
        {"stream": "door", "epoch": 0, "first_seq": 18, "last_seq": 18},
        {"stream": "yard", "epoch": 0, "first_seq": 0, "last_seq": 2},
    ]
    report = import_user(db, tmp_path / "export", user="bob")
    bob = db.user("bob")
    assert report.numbers_taken == 15
    copy = bob.stream("door")
    assert [(gap.epoch, gap.first_seq, gap.last_seq) for gap in copy.gaps()] == gaps
    assert bob.stream("yard").gaps() == []
    assert sorted(clip.seq for clip in bob.clips()) == sorted(clip.seq for clip in user.clips())
    for name in ("door", "yard"):
        theirs, ours = bob.stream(name).ledger(), user.stream(name).ledger()
        assert (theirs.next_seq, theirs.clips) == (ours.next_seq, ours.clips)
    # Another clip gets such a number neither here nor there.
    for handle in (door, copy):
        assert handle.write(clip(11, vector(1, 2, 3))).duplicate
        assert handle.write(clip(18, vector(1, 2, 3))).duplicate
    assert db.verify().ok
    revision = bob.revision()
    for name in ("bob", "alice"):
        assert import_user(db, tmp_path / "export", user=name).numbers_taken == 0
    assert bob.revision() == revision


def test_a_number_is_taken_before_the_clips_are_too_far_ahead_of_it(
    db: Database, user: User, tmp_path: Path
) -> None:
    from memdb.portable.exporter import export_user
    from memdb.portable.importer import import_user

    door = user.stream("door", space="clip")
    far = 3 * LATE_SEQ_MAX
    acks = [door.write(clip(seq)) for seq in (0, 1, 2, far, far + 1, far + 2)]
    user.erase_clips([acks[1].clip_id, acks[4].clip_id])
    export_user(db, "alice", tmp_path / "export")

    report = import_user(db, tmp_path / "export", user="bob")

    assert (report.clips_written, report.numbers_taken) == (4, 2)
    gaps = db.user("bob").stream("door").gaps()
    assert [(gap.first_seq, gap.last_seq) for gap in gaps] == [(3, far - 1)]


def test_numbers_are_taken_again_after_an_import_that_was_broken_off(
    db: Database, user: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from memdb.portable import taken
    from memdb.portable.exporter import export_user
    from memdb.portable.importer import import_user

    door = user.stream("door", space="clip")
    ids = [door.write(clip(seq)).clip_id for seq in range(9)]
    user.erase_clips(ids[:5])
    export_user(db, "alice", tmp_path / "export")
    with monkeypatch.context() as broken:
        broken.setattr(taken.Taking, "_erase", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            import_user(db, tmp_path / "export", user="bob")
    bob = db.user("bob")
    assert len(bob.clips()) == 9
    import_user(db, tmp_path / "export", user="bob")
    assert [clip.seq for clip in bob.clips()] == [5, 6, 7, 8]
    assert bob.stream("door").gaps() == []
    # Who has a clip of such a number keeps it.
    carol = db.user("carol")
    carol.stream("door", space="clip").write(clip(2, sealed=False))
    assert import_user(db, tmp_path / "export", user="carol").numbers_taken == 4
    assert [clip.seq for clip in carol.clips()] == [2, 5, 6, 7, 8]
    # What is under hold is not erased, be it only a number.
    dave = db.user("dave").stream("door", space="clip")
    dave.create()
    dave.set_retention(Retention(hold=True))
    held = import_user(db, tmp_path / "export", user="dave")
    assert (held.clips_written, held.numbers_taken, held.numbers_left) == (4, 0, 5)
    assert [(gap.first_seq, gap.last_seq) for gap in dave.gaps()] == [(0, 4)]


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
    (tmp_path / "export" / "export.json").write_text(json.dumps(document))
    with pytest.raises(DataLoss) as damaged:
        import_user(db, tmp_path / "export", user="bob")
    assert (damaged.value.reason, damaged.value.field) == ("BAD_EXPORT", "export.json")
    assert db.users() == ["alice"]


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
    del document["files"]["standing.parquet"], document["standing"]
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
    from pyarrow import parquet

    file = export / "standing.parquet"
    parquet.write_table(parquet.read_table(file).drop_columns(names), file)
    described_anew(export)


def described_anew(export: Path) -> None:
    """The questions of an export are others now."""
    document = json.loads((export / "export.json").read_text())
    content = (export / "standing.parquet").read_bytes()
    described = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    document["files"]["standing.parquet"] = described
    (export / "export.json").write_text(json.dumps(document))


def test_a_cosine_beyond_what_there_is_of_an_earlier_release_comes_along(
    db: Database, user: User, tmp_path: Path
) -> None:
    """Such a question is refused now; an import of many is not, for its sake."""
    from pyarrow import compute, parquet

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


def test_other_programs_can_read_it(db: Database, user: User, tmp_path: Path) -> None:
    from pyarrow import parquet
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
    document = json.loads((export / "export.json").read_text())
    (export / "export.json").write_text(json.dumps(document | {"memdb_export": 3}))
    with pytest.raises(FailedPrecondition) as newer:
        import_user(db, export, user="bob")
    assert newer.value.reason == "FORMAT_NEWER"
    assert db.users() == ["alice"]
