"""A damaged value costs one clip, and everyone who might miss it is told."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from memdb import DataLoss, Keyframe, Utterance
from memdb.clock import ManualClock
from memdb.config import EngineConfig
from memdb.engine import told_gaps
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.memory import UserMemory
from memdb.engine.quarantine import DamagedClip
from memdb.engine.user import EmbeddedUser
from tests.unit.engine.conftest import CONFIG, clip, vector
from tests.unit.engine.damaged import (
    ALTERED,
    MEMORY,
    change,
    flipped_first,
    flipped_value,
    made,
)


@pytest.mark.parametrize("how", ALTERED)
@pytest.mark.parametrize("table", ["clips", "vectors"])
def test_a_damaged_record_or_vector_costs_one_clip(
    folder: Path, clock: ManualClock, config: EngineConfig, table: str, how: str
) -> None:
    path = made(folder, clock, config)
    change(path, table, 2, ALTERED[how])
    with EmbeddedDatabase(folder / "data", config=config, clock=clock) as db:
        user = db.user("alice")
        door = user.stream("door")
        assert [found.seq for found in user.clips()] == [0, 1, 3, 4, 5]
        (gap,) = door.gaps()
        assert (gap.first_seq, gap.last_seq, gap.reason) == (2, 2, "damaged")
        answer = user.ground(vector(2), limit=6)
        assert sorted(hit.clip.seq for hit in answer.hits) == [0, 1, 3, 4, 5]
        assert [gap.reason for gap in answer.gaps] == ["damaged"]
        assert user.ground(vector(2), limit=6, start_ns=40 * 10**9).gaps == ()
        with pytest.raises(DataLoss) as refused:
            door.write(clip(2))
        assert (refused.value.reason, refused.value.field) == ("QUARANTINED", "clip.seq")
        assert door.write(clip(6)).duplicate is False
        assert door.write(
            clip(
                3,
                short_memory=MEMORY,
                keyframes=(Keyframe(3, b"jpeg" * 20),),
                transcript=(Utterance(3, 4, "word3"),),
            )
        ).duplicate
        assert user.recall("mug").hits
        assert db.user_state("alice") == "damaged"
        found = db.verify()
        assert {item.user for item in found.discrepancies} == {"alice"}
        assert len(db.user("bob").clips()) == 6
        assert db.user_state("bob") == "serving"


@pytest.mark.parametrize("table", ["clips", "vectors"])
def test_an_agent_whose_open_clip_is_damaged_goes_on_behind_it(
    folder: Path, clock: ManualClock, config: EngineConfig, table: str
) -> None:
    path = made(folder, clock, config)
    with EmbeddedDatabase(folder / "data", config=config, clock=clock) as db:
        door = db.user("alice").stream("door")
        door.write(clip(6, sealed=False))
    change(path, table, -1, ALTERED["value"])
    with EmbeddedDatabase(folder / "data", config=config, clock=clock) as db:
        door = db.user("alice").stream("door")
        ledger = door.ledger()
        assert (ledger.next_seq, ledger.last_end_ns) == (7, clip(5).end_ns)
        with pytest.raises(DataLoss):
            door.write(clip(6))
        with door.ingest() as writer:
            assert writer.next_seq == 7
            writer.send(clip(7))
        assert door.ledger().next_seq == 8


def test_a_vector_under_the_number_of_no_space_costs_one_clip(
    folder: Path, clock: ManualClock
) -> None:
    path = made(folder, clock)
    change(path, "vectors", 2, lambda key, value: (bytes([key[0] ^ 1]) + key[1:], value))
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        user = db.user("alice")
        assert [found.seq for found in user.clips()] == [0, 1, 3, 4, 5]
        assert [gap.reason for gap in user.stream("door").gaps()] == ["damaged"]


def elsewhere(key: bytes, value: bytes) -> tuple[bytes, bytes]:
    """Under another birth, which no longer matches its checksum."""
    return key[:-8] + bytes([key[-8] ^ 0x40]) + key[-7:], value


@pytest.mark.parametrize(
    ("record", "row"),
    [(flipped_value, elsewhere), (elsewhere, flipped_value), (elsewhere, elsewhere)],
    ids=["record-key", "key-record", "both-keys"],
)
def test_a_clip_of_which_neither_record_nor_vector_can_be_read_is_told_by_the_ledger(
    folder: Path,
    clock: ManualClock,
    record: Callable[[bytes, bytes], tuple[bytes, bytes]],
    row: Callable[[bytes, bytes], tuple[bytes, bytes]],
) -> None:
    """One of them under a key that is not its own: neither had the other beside it, and nobody missed the clip."""
    path = made(folder, clock)
    for table, alter in (("clips", record), ("vectors", row)):
        change(path, table, 2, alter)
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        user = db.user("alice")
        assert [found.seq for found in user.clips()] == [0, 1, 3, 4, 5]
        (gap,) = user.stream("door").gaps()
        assert (gap.first_seq, gap.last_seq, gap.reason) == (2, 2, "damaged")
        assert [gap.reason for gap in user.ground(vector(2), limit=6).gaps] == ["damaged"]
        with pytest.raises(DataLoss):
            user.stream("door").write(clip(2))
        assert not db.verify().ok


@pytest.mark.parametrize("how", ALTERED)
def test_a_damaged_ledger_row_costs_its_number(
    folder: Path, clock: ManualClock, config: EngineConfig, how: str
) -> None:
    path = made(folder, clock, config)
    change(path, "ledger", 4, ALTERED[how])
    with EmbeddedDatabase(folder / "data", config=config, clock=clock) as db:
        door = db.user("alice").stream("door")
        assert [found.seq for found in db.user("alice").clips()] == list(range(6))
        with pytest.raises(DataLoss):
            door.write(clip(4))
        assert door.write(clip(6)).duplicate is False
        assert len(db.user("alice").clips()) == 7


@pytest.mark.parametrize("table", ["short_memory", "keyframes"])
def test_a_damaged_part_is_found_by_a_read_and_told_from_then_on(
    folder: Path, clock: ManualClock, config: EngineConfig, table: str
) -> None:
    path = made(folder, clock, config)
    change(path, table, 1, flipped_value)
    with EmbeddedDatabase(folder / "data", config=config, clock=clock) as db:
        user = db.user("alice")
        door = user.stream("door")
        assert door.gaps() == []
        answer = user.ground(vector(1), limit=6, with_short_memory=True)
        assert sorted(hit.clip.seq for hit in answer.hits) == [0, 2, 3, 4, 5]
        assert [(gap.first_seq, gap.reason) for gap in answer.gaps] == [(1, "damaged")]
        assert [(gap.first_seq, gap.reason) for gap in door.gaps()] == [(1, "damaged")]
        if table == "short_memory":
            assert [found.seq for found in user.clips()] == list(range(6))
        else:
            assert [found.seq for found in user.clips()] == [0, 2, 3, 4, 5]


def test_gaps_are_in_order_when_damage_is_met_for_the_first_time(
    folder: Path, clock: ManualClock
) -> None:
    path = made(folder, clock)
    for entry in (1, 4):
        change(path, "short_memory", entry, flipped_value)
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        user = db.user("alice")
        user.stream("attic", space="cam").write(clip(0))
        user.stream("door", space="cam").write(clip(8))  # 6 and 7 are missing
        user.stream("porch", space="cam").write(clip(2))
        told = [
            [
                (gap.stream, gap.first_seq, gap.reason)
                for gap in user.ground(vector(4), limit=10, with_short_memory=True).gaps
            ]
            for _ in range(2)
        ]
    assert told[0] == told[1]
    assert told[0] == [
        ("door", 1, "damaged"),
        ("door", 4, "damaged"),
        ("door", 6, "missing"),
        ("porch", 0, "missing"),
    ]


def test_damage_is_counted_once_where_an_answer_does_not_name_all_gaps(
    folder: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Met for the first time, known, and met again after it is known and left out."""
    monkeypatch.setattr(told_gaps, "GAPS_TOLD_MAX", 2)
    path = made(folder, clock)
    for entry in (1, 4):
        change(path, "short_memory", entry, flipped_value)
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        user = db.user("alice")
        user.stream("door", space="cam").write_many([clip(8), clip(10), clip(12)])
        answers = [
            user.ground(vector(4), limit=10, with_short_memory=True, with_coverage=True)
            for _ in range(3)
        ]
    for answer in answers:
        assert [gap.first_seq for gap in answer.gaps] == [9, 11]
        assert answer.gaps_left_out == 3  # 1 and 4, damaged, and 6 with 7
        assert [covered.missing for covered in answer.coverage] == [6]


def test_an_answer_that_cannot_be_read_is_no_abstention(folder: Path, clock: ManualClock) -> None:
    """The clip was seen: only what it showed is lost."""
    path = made(folder, clock)
    change(path, "short_memory", 1, flipped_value)
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        answer = db.user("alice").ground(vector(1), limit=1, with_short_memory=True)
        assert (answer.hits, answer.abstained, answer.coverage) == ((), False, ())
        assert [(gap.first_seq, gap.reason) for gap in answer.gaps] == [(1, "damaged")]


@pytest.mark.parametrize(
    ("table", "asks"),
    [
        ("values", lambda user: user.get("diet")),
        ("values", lambda user: user.keys()),
        ("values", lambda user: user.remove("diet")),
        ("facts", lambda user: user.facts()),
        ("facts", lambda user: user.recall("mug")),
        ("snapshots", lambda user: user.clips(as_of="now")),
        ("facts", lambda user: user.fact(key="mug")),
        ("fact_keys", lambda user: user.remember("the mug is red", key="mug")),
        ("fact_keys", lambda user: user.fact(key="mug")),
    ],
    ids=["get", "keys", "remove", "facts", "recall", "as_of", "fact", "remember", "fact key"],
)
@pytest.mark.parametrize("how", ALTERED)
def test_a_suspect_table_answers_nothing_and_the_rest_goes_on(
    folder: Path,
    clock: ManualClock,
    config: EngineConfig,
    table: str,
    how: str,
    asks: Callable[[EmbeddedUser], object],
) -> None:
    path = made(folder, clock, config)
    change(path, table, 0, ALTERED[how])
    with EmbeddedDatabase(folder / "data", config=config, clock=clock) as db:
        user = db.user("alice")
        with pytest.raises(DataLoss) as suspect:
            asks(user)
        assert (suspect.value.reason, suspect.value.field) == ("QUARANTINED", table)
        assert user.ground(vector(3), limit=1).hits[0].clip.seq == 3
        assert user.stream("door").write(clip(6)).duplicate is False
        where = db.verify().discrepancies[0].where
        assert where.startswith(f"{table}/")
        assert [found.where for found in db.scrub(1 << 30).damaged][:1] == [where]


@pytest.mark.parametrize("table", ["values", "fact_keys", "snapshots"])
def test_a_name_that_is_damaged_meanwhile_is_told(
    folder: Path, clock: ManualClock, config: EngineConfig, table: str
) -> None:
    path = made(folder, clock, config)
    with EmbeddedDatabase(folder / "data", config=config, clock=clock) as db:
        user = db.user("alice")
        for number in range(40):
            user.put(f"other-{number}", number)
            user.remember(f"other-{number}", key=f"other-{number}")
            user.snapshot(f"other-{number}", ttl_s=10**6)
    change(path, table, 17, flipped_first)
    with EmbeddedDatabase(folder / "data", config=config, clock=clock) as db:
        seen = [item for _ in range(400) for item in db.scrub(300).damaged]
        assert {item.where.partition("/")[0] for item in seen} == {table}
        assert db.user_state("bob") == "serving"
        assert len(db.user("alice").clips()) == 6
        asks: dict[str, Callable[[EmbeddedUser], object]] = {
            "values": lambda user: user.get("other-1"),
            "snapshots": lambda user: user.snapshots(),
            "fact_keys": lambda user: user.remember("mine", key="other-1"),
        }
        with pytest.raises(DataLoss):
            asks[table](db.user("alice"))


@pytest.mark.parametrize("table", ["meta", "streams", "spaces"])
def test_what_all_hangs_on_keeps_one_user_closed_and_is_not_tried_over_and_over(
    folder: Path,
    clock: ManualClock,
    config: EngineConfig,
    table: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = made(folder, clock, config)
    change(path, table, 0, flipped_value)
    with EmbeddedDatabase(folder / "data", config=config, clock=clock) as db:
        opened: list[str] = []
        real = db._users._opener.open

        def counted(user: str, *, create: bool) -> UserMemory:
            opened.append(user)
            return real(user, create=create)

        monkeypatch.setattr(db._users._opener, "open", counted)
        for _ in range(3):
            with pytest.raises(DataLoss):
                db.user("alice").clips()
        assert opened == ["alice"]
        assert db.user_state("alice") == "quarantined"
        assert len(db.user("bob").clips()) == 6


@pytest.mark.parametrize("how", ALTERED)
def test_a_damaged_feature_of_a_fact_costs_that_fact_alone(
    folder: Path, clock: ManualClock, how: str
) -> None:
    path = made(folder, clock)
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        user = db.user("alice")
        user.configure(text_space="cam")
        damaged = user.remember("the cat is grey", feature=vector(1))
        whole = user.remember("the lamp is on", feature=vector(2))
    change(path, "texts", 0, ALTERED[how])
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        user = db.user("alice")
        assert len(user.clips()) == 6
        assert db.user_state("alice") == "damaged"
        # Its words are whole, so it is served; what it means cannot be searched for.
        assert [fact.text for fact in user.facts()][-2:] == ["the cat is grey", "the lamp is on"]
        assert [hit.text for hit in user.recall("grey").hits] == ["the cat is grey"]
        by_meaning = user.recall("nothing", feature=vector(2)).hits
        assert [hit.text for hit in by_meaning if "semantic" in hit.arms] == ["the lamp is on"]
        with user.memory() as memory:
            (note,) = memory.view.quarantine.notes
            assert note[0].startswith("texts/")
        found = db.verify()
        assert "texts" in {item.where.split("/")[0] for item in found.discrepancies}
        assert {item.user for item in found.discrepancies} == {"alice"}
        # It is whole again once it is said anew.
        user.revise(damaged.id, text="the cat is white", feature=vector(1))
        user.revise(whole.id, valid_to=2**61)
        assert [hit.text for hit in user.recall("cat", feature=vector(1)).hits][:1] == [
            "the cat is white"
        ]
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        assert db.user("alice").recall("cat").hits[0].text == "the cat is white"
        db.user("alice").forget(damaged.id)
        assert len(db.user("alice").facts()) == 3


@pytest.mark.parametrize("table", ["clips", "vectors", "keyframes", "facts"])
def test_a_watch_goes_on_past_damage(folder: Path, clock: ManualClock, table: str) -> None:
    path = made(folder, clock)
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        whole = db.user("alice").changes()
    change(path, table, 1, flipped_value)
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        user = db.user("alice")
        seen = list(user.watch(follow=False))
        assert [(one.revision, one.kind) for one in seen] == [
            (one.revision, one.kind) for one in whole
        ]
        told = [one for one in seen if one.kind in ("clip", "fact")]
        lost = [(one.revision, one.kind) for one in told if one.clip is None and one.fact is None]
        kind = "fact" if table == "facts" else "clip"
        assert lost == [[(one.revision, one.kind) for one in whole if one.kind == kind][1]]
        if table != "facts":
            assert [gap.reason for gap in user.stream("door").gaps()] == ["damaged"]


def test_a_recall_goes_on_past_damage(folder: Path, clock: ManualClock) -> None:
    path = made(folder, clock)
    change(path, "keyframes", 1, flipped_value)
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        user = db.user("alice")
        assert user.stream("door").gaps() == []
        hits = user.recall("word0 word1 word2").hits
        assert sorted(hit.text for hit in hits) == ["word0", "word2"]
        assert [gap.reason for gap in user.stream("door").gaps()] == ["damaged"]


def test_an_error_that_is_told_again_is_another_one(folder: Path, clock: ManualClock) -> None:
    path = made(folder, clock)
    change(path, "meta", 0, flipped_value)
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        errors: list[DataLoss] = []
        for _ in range(20):
            with pytest.raises(DataLoss) as told:
                db.user("alice").clips()
            errors.append(told.value)
        assert len({id(error) for error in errors}) == len(errors)
        said = {(str(e), e.reason, e.field, e.value, e.violations) for e in errors}
        assert len(said) == 1
        # The frames of all calls before would be kept alive by a traceback that grows.
        assert len({len(list(traceback.walk_tb(e.__traceback__))) for e in errors[1:]}) == 1


def test_a_damaged_clip_does_not_make_a_page_shorter(folder: Path, clock: ManualClock) -> None:
    path = made(folder, clock)
    change(path, "keyframes", 1, flipped_value)
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        # A short page means to whoever pages, the server among them, that there is no more.
        page = db.user("alice").clips(limit=3)
        assert [found.seq for found in page] == [0, 2, 3]


def test_calls_that_run_are_not_refused_when_a_user_is_opened_anew(
    folder: Path, clock: ManualClock
) -> None:
    made(folder, clock)
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        user = db.user("alice")
        door = user.stream("door")
        stop = threading.Event()
        errors: list[BaseException] = []
        end = user.subscribe(lambda _: None)

        def goes_on(work: Callable[[int], object]) -> None:
            turn = 100
            while not stop.is_set():
                try:
                    work(turn)
                except BaseException as error:
                    errors.append(error)
                    return
                turn += 1

        works: list[Callable[[int], object]] = [
            lambda turn: door.write(clip(turn)),
            lambda _: user.clips(limit=20),
            lambda _: user.ground(vector(1), limit=3),
            lambda turn: user.put("turn", turn),
        ]
        threads = [threading.Thread(target=goes_on, args=(work,)) for work in works]
        for thread in threads:
            thread.start()
        seen = set()
        for number in range(20):
            db._users.damage_found("alice", [f"vectors/{number}"])
            time.sleep(0.05)  # the threads go on; how far does not matter
            with user.memory() as memory:
                seen.add(id(memory))
        stop.set()
        for thread in threads:
            thread.join(30)
        end()
        assert errors == []
        assert len(seen) > 1
        assert db.verify().ok


def test_a_damaged_clip_of_no_length_is_a_point() -> None:
    """As a whole one is to the filters, or an answer would lack it and not say so."""
    damaged = DamagedClip(0, 1, 0, 0, 0, 50, 50)
    assert damaged.touches(50, 60)
    assert damaged.touches(40, 51)
    assert not damaged.touches(40, 50)
    assert not damaged.touches(51, 60)
