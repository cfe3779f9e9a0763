"""A scrub finds what nobody reads, and leads to quarantine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from memdb import Discrepancy
from memdb.clock import ManualClock
from memdb.config import EngineConfig
from memdb.engine import known_damage
from memdb.engine.commits import Group
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.memory import UserMemory
from memdb.engine.scrub_place import ScrubPlace
from tests.unit.engine.conftest import CONFIG, clip, vector
from tests.unit.engine.damaged import (
    change,
    flipped_value,
    made,
)

Logged = list[tuple[str, ...]]


def test_a_scrub_finds_what_nobody_reads(
    folder: Path, clock: ManualClock, config: EngineConfig
) -> None:
    path = made(folder, clock, config)
    change(path, "short_memory", 3, flipped_value)
    with EmbeddedDatabase(folder / "data", config=config, clock=clock) as db:
        steps = values = 0
        found: list[Discrepancy] = []
        while not found:
            report = db.scrub(600)
            steps, values = steps + 1, values + report.values
            found = report.damaged
            assert steps < 1000
        assert steps >= 2
        assert [(item.user, item.where.split("/")[0]) for item in found] == [
            ("alice", "short_memory")
        ]
        whole = db.scrub(1 << 30)
        assert whole.users_finished >= 2
        assert whole.values > 50


def test_damage_is_logged_once_and_forgotten_with_its_user(
    folder: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    change(made(folder, clock), "short_memory", 3, flipped_value)
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        for _ in range(3):
            assert len(db.scrub(1 << 30).damaged) == 1
        assert sum("the scrub found damage" in each.message for each in caplog.records) == 1
        assert db._scrub._known._told.keys() == {"alice"}
        db.user("alice").erase()
        assert not db._scrub._known._told


def test_a_scrub_goes_on_behind_a_table_that_is_out_of_order(
    folder: Path, clock: ManualClock
) -> None:
    path = made(folder, clock)
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        for key in ("first-of-two", "other-of-two", "gone"):
            db.user("alice").put(key, 1)
        db.user("alice").remove("gone")
        # The disk changes under an open environment: an opening would look at the structure first.
        data = (path / "data.mdb").read_bytes()
        logged = data.rindex(b"remove-value")
        with (path / "data.mdb").open("r+b") as file:
            file.write(data.replace(b"other-of-two", b"early-of-two"))
            file.seek(logged)
            file.write(b"V")
        found = {(item.user, item.where.split("/")[0]) for item in db.scrub(1 << 30).damaged}
    assert found == {("alice", "values"), ("alice", "log")}


def test_a_scrub_of_what_is_open_leads_to_quarantine(folder: Path, clock: ManualClock) -> None:
    path = made(folder, clock, CONFIG)
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        user = db.user("alice")
        assert len(user.clips()) == 6
        # The disk changes under an open environment.
        data = bytearray((path / "data.mdb").read_bytes())
        at = data.index(vector(4).tobytes())
        with (path / "data.mdb").open("r+b") as file:
            file.seek(at + 5)
            file.write(bytes([data[at + 5] ^ 1]))
        report = db.scrub(1 << 30)
        assert [item.where.split("/")[0] for item in report.damaged] == ["vectors"]
        assert [found.seq for found in user.clips()] == [0, 1, 2, 3, 5]
        assert [gap.reason for gap in user.stream("door").gaps()] == ["damaged"]


@pytest.mark.parametrize("table", ["clips", "keyframes", "short_memory", "log", "texts"])
def test_damage_that_is_known_does_not_open_a_user_again_in_every_round(
    folder: Path, clock: ManualClock, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = made(folder, clock)
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        db.user("alice").configure(text_space="cam")
        db.user("alice").remember("with a feature", feature=vector(1))
    change(path, table, 0, flipped_value)
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        user = db.user("alice")
        user.revision()
        opened: list[str] = []
        real = db._users._opener.open

        def counted(name: str, *, create: bool) -> UserMemory:
            opened.append(name)
            return real(name, create=create)

        monkeypatch.setattr(db._users._opener, "open", counted)
        for _ in range(4):
            assert db.scrub(1 << 30).damaged
            user.revision()
        assert len(opened) <= 1
        if table in ("clips", "keyframes", "short_memory"):
            assert [gap.reason for gap in user.stream("door").gaps()] == ["damaged"]
            assert db.user_state("alice") == "damaged"


def test_damage_found_between_a_commit_and_its_publication_refuses_no_write(
    folder: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(folder, clock)
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        user = db.user("alice")
        with user.memory() as memory:
            real = memory._commits.commit

            def commit(group: Group, waiting: Callable[[], None]) -> None:
                real(group, waiting)
                db._users.damage_found("alice", ["vectors/00"])

            monkeypatch.setattr(memory._commits, "commit", commit)
        ack = user.stream("door").write(clip(6))
        assert not ack.duplicate
        with user.memory() as again:
            assert again is not memory
        assert [found.seq for found in user.clips()] == list(range(7))
        assert db.verify().ok


def said(caplog: pytest.LogCaptureFixture) -> Logged:
    """Words, users and tables of what a scrub logged since this was asked last."""
    found: Logged = []
    for record in caplog.records:
        words = record.getMessage().partition(":")[0]
        if words.startswith("the scrub"):
            fields: dict[str, str] = vars(record)["fields"]
            found.append((words, fields["user"], fields.get("where", "").partition("/")[0]))
    caplog.clear()
    return found


def flipped_file(path: Path, held: bytes) -> None:
    """Change one bit under an open environment, or change it back."""
    data = (path / "data.mdb").read_bytes()
    places = [at for at in range(len(data)) if data.startswith(held, at)]
    assert len(places) == 1
    with (path / "data.mdb").open("r+b") as file:
        file.seek(places[0])
        file.write(bytes([held[0] ^ 1]))


@pytest.mark.parametrize("step", [400, 1 << 30])
def test_damage_that_stays_is_logged_once_a_day(
    folder: Path, clock: ManualClock, step: int, caplog: pytest.LogCaptureFixture
) -> None:
    path = made(folder, clock)
    change(path, "log", 0, flipped_value)
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        seen: list[Discrepancy] = []

        def rounds(count: int) -> Logged:
            del seen[:]
            finished = 0
            while finished < 2 * count:
                report = db.scrub(step)
                finished += report.users_finished
                seen.extend(report.damaged)
            return said(caplog)

        caplog.clear()
        told = ("the scrub found damage", "alice", "log")
        assert rounds(2) == [told]
        assert rounds(5) == []
        assert len(seen) >= 4  # and all is reported
        assert db.verify().discrepancies
        clock.advance((known_damage.TOLD_AGAIN_S - 1) * 10**9)
        assert rounds(3) == []
        clock.advance(10**9)
        assert rounds(3) == [told]
        # Of the other user, and of the same place when it was away in between.
        other = db._directory.user_path("bob")
        held = vector(4).tobytes()
        for expected in ([("the scrub found damage", "bob", "vectors")], []) * 2:
            flipped_file(other, held)
            held = bytes([held[0] ^ 1]) + held[1:]
            assert rounds(3) == expected
        db.user("alice").erase()
        assert db._scrub._known._told == {}


def test_what_is_known_of_damage_has_a_bound(
    folder: Path,
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = made(folder, clock)
    for entry in range(6):
        change(path, "ledger", entry, flipped_value)
    change(path, "log", 0, flipped_value)
    monkeypatch.setattr(known_damage, "PLACES_MAX", 2)
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        caplog.clear()
        for _ in range(4):
            assert len(db.scrub(1 << 30).damaged) >= 7
        assert said(caplog) == [
            ("the scrub found damage", "alice", "ledger"),
            ("the scrub found damage", "alice", "ledger"),
            ("the scrub found more damage than is logged", "alice", ""),
        ]
        assert sum(map(len, db._scrub._known._told.values())) == 3


def test_a_scrub_goes_on_where_it_stood_whoever_comes_and_goes(
    folder: Path, clock: ManualClock
) -> None:
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:

        def rounds_of(users: str) -> int:
            for name in users:
                for key in ("one", "two", "three"):
                    db.user(name).put(key, name)
            return sum(db.scrub(1 << 30).values for _ in range(2)) // 2

        at_each = rounds_of("bdf") // 3
        place = db._scrub._place
        while b"one" not in place.after:
            db.scrub(1)
        standing = place._number
        db.user("a").put("x", 1)  # before it
        db.user("z").put("x", 1)
        db.scrub(1)
        assert b"two" in place.after  # by length, then as they are spelt
        assert place._number == standing + 1
        # Erased where it stands: it goes on with the next, from the beginning.
        db.user(db.users()[standing + 1]).erase()
        assert (place.after, place.table, place._hash) == (b"", 0, None)
        assert db.scrub(1 << 30).values > at_each


def test_a_user_that_is_erased_while_it_is_looked_at_is_not_kept() -> None:
    place = ScrubPlace()
    assert place.find(["a", "b"]) == (0, False)
    place.table, place.after = 3, b"key"
    assert not place.forget("a")
    place.leave(0, "a")
    assert (place.table, place.after) == (0, b"")
    assert place.find(["b"]) == (0, False)
    place.leave(1, None)
    assert place.find(["b"]) == (1, False)
    place.leave(0, "b")
    assert place.find(["a", "b"]) == (1, True)
