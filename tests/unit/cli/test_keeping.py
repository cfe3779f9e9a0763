"""``memdb users``, ``sweep``, ``retention``, ``compact`` and ``erase``, of a directory and over a server: what they
print, what they change, and their exit status.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memdb import Clip, Keyframe, MemdbError, ResourceExhausted, Retention
from memdb.engine import database as databases
from memdb.engine.database import EmbeddedDatabase
from memdb.types.times import as_text
from tests.congruence.server import ServerThread
from tests.unit.cli.conftest import CONFIG, run

SECOND_NS = 10**9
NOW_NS = time.time_ns() // SECOND_NS * SECOND_NS
"""Not long ago, or a sweep would doubt the clock."""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Alice with four clips of the porch from now on, one of the yard, and a fact that
    cites the first; Bob with a value.
    """
    with EmbeddedDatabase(tmp_path / "data", config=CONFIG) as db:
        db.create_space("s", dim=2)
        alice = db.user("alice")
        acks = [alice.stream("porch", space="s").write(clip(seq)) for seq in range(4)]
        alice.stream("yard", space="s").write(clip(0))
        alice.remember("a parcel came", evidence=[acks[0].clip_id])
        db.user("bob").put("diet", "fish")
    return tmp_path / "data"


def clip(seq: int) -> Clip:
    return Clip(
        seq=seq,
        start_ns=NOW_NS + seq * SECOND_NS,
        end_ns=NOW_NS + (seq + 1) * SECOND_NS,
        global_memory=np.ones(2, np.float32),
        short_memory=np.ones((4, 2), np.float16),
        keyframes=(Keyframe(NOW_NS, b"jpeg"),),
    )


@contextmanager
def where(data: Path, how: str) -> Iterator[tuple[object, ...]]:
    """The options that name the database."""
    if how == "directory":
        yield (data,)
        return
    with ServerThread(data) as server:
        yield ("--server", server.address)


@pytest.fixture(params=["directory", "server"])
def how(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def report(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    """What a command that succeeds prints as JSON."""
    status, out, told = run(capsys, *arguments)
    assert (status, told, out.count("\n")) == (0, "", 1)
    found: dict[str, Any] = json.loads(out)
    return found


def test_users(data: Path, how: str, capsys: pytest.CaptureFixture[str]) -> None:
    with where(data, how) as there:
        status, out, told = run(capsys, "users", *there)
        assert (status, told) == (0, "")
        assert out == (
            "alice  revision 6  2 streams  serving\nbob  revision 1  0 streams  serving\n"
        )
        status, out, _ = run(capsys, "users", *there, "--count", "--json")
    alice, bob = map(json.loads, out.splitlines())
    assert alice == {
        "user": "alice", "revision": 6, "streams": 2, "state": "serving",
        "clips": 5, "bytes": 5 * (2 * 4 + len(b"jpeg")),
    }  # fmt: skip
    assert (status, bob["clips"], bob["bytes"]) == (0, 0, 0)


def test_verify(data: Path, how: str, capsys: pytest.CaptureFixture[str]) -> None:
    with where(data, how) as there:
        found = report(capsys, "verify", *there)
    assert (found["ok"], found["users"], found["clips"]) == (True, 2, 5)
    assert found["discrepancies"] == []


def test_verify_of_a_server_names_what_is_damaged(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in (data / "users").glob("*/data.mdb"):
        found = file.read_bytes()
        if b"porch" in found:
            # A keyframe: read late, so the user is served all the same.
            file.write_bytes(found.replace(b"jpeg", b"jpEg"))
    with where(data, "server") as there:
        status, out, told = run(capsys, "verify", *there)
    assert (status, told) == (1, "")
    assert {item["user"] for item in json.loads(out)["discrepancies"]} == {"alice"}


def test_a_hold_and_its_end_in_one_command_are_refused(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("retention", data, "--user", "alice", "--stream", "porch")
    assert report(capsys, *command, "--hold")["hold"] is True
    with pytest.raises(SystemExit) as refused:
        run(capsys, *command, "--hold", "--no-hold")
    assert refused.value.code == 2
    capsys.readouterr()
    assert report(capsys, *command)["hold"] is True
    assert report(capsys, *command, "--no-hold")["hold"] is False


def test_a_user_that_cannot_be_read_is_listed_with_the_reason(
    data: Path, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in (data / "users").glob("*/data.mdb"):
        if b"porch" in file.read_bytes():
            file.write_bytes(bytes(file.stat().st_size))
    with where(data, how) as there:
        status, out, _ = run(capsys, "users", *there, "--json")
    alice, bob = map(json.loads, out.splitlines())
    assert (status, alice["revision"], bob["state"]) == (1, None, "serving")
    assert alice["state"] not in ("serving", "INTERNAL")


def test_a_policy_is_shown_and_changed_by_what_is_named(
    data: Path, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    everything = {
        "max_age_s": None, "max_clips": None, "max_bytes": None,
        "short_memory_age_s": None, "keyframes_age_s": None, "hold": False,
    }  # fmt: skip
    with where(data, how) as there:
        command = ("retention", *there, "--user", "alice", "--stream", "porch")
        assert report(capsys, *command) == everything
        made = everything | {"max_clips": 2, "short_memory_age_s": 60}
        assert report(capsys, *command, "--max-clips", 2, "--short-memory-age-s", 60) == made
        assert report(capsys, *command, "--hold") == made | {"hold": True}
        status, _, told = run(capsys, "erase", *there, "--user", "alice", "--stream", "porch",
                              "--yes")  # fmt: skip
        assert (status, told.count("\n"), "LEGAL_HOLD" in told) == (1, 1, True)
        assert "`memdb retention --no-hold` ends it" in told
        made |= {"short_memory_age_s": None}
        options = ("--no-hold", "--short-memory-age-s", "none")
        assert report(capsys, *command, *options) == made == report(capsys, *command)
        swept = report(capsys, "sweep", *there)
        assert (swept["clips"], swept["bytes_removed"]) == (2, 2 * (16 + len(b"jpeg")))
        assert report(capsys, *command, "--hold", "--max-clips", 1)["hold"]
        assert report(capsys, *command, "--clear") == everything | {"hold": True}
        assert report(capsys, *command, "--no-hold") == everything
        status, out, told = run(capsys, *command[:-1], "attic")
        assert (status, out, told.count("\n"), "STREAM_NOT_FOUND" in told) == (1, "", 1, True)


def test_a_user_of_a_directory_that_cannot_be_swept_is_told_in_a_line(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_arguments: object) -> None:
        raise ResourceExhausted("no room", reason="DISK_FULL")

    with EmbeddedDatabase(data, config=CONFIG) as db:
        for name in ("porch", "yard"):  # Bob has nothing to be swept
            db.user("alice").stream(name).set_retention(Retention(max_clips=1))
    monkeypatch.setattr(databases, "sweep_user", refused)
    status, out, told = run(capsys, "sweep", data)
    assert (status, json.loads(out)["clips"]) == (1, 0)
    assert (json.loads(out)["unswept"], json.loads(out)["unswept_reasons"]) == (1, ["DISK_FULL"])
    assert told == "memdb: a user cannot be swept: user alice: DISK_FULL: no room\n"


def test_a_user_is_compacted(data: Path, how: str, capsys: pytest.CaptureFixture[str]) -> None:
    with EmbeddedDatabase(data, config=CONFIG) as db:
        bob = db.user("bob")
        bob.put("large", ["PASSWORD123", "x" * 900_000])
        bob.remove("large")
    with where(data, how) as there:
        found = report(capsys, "compact", *there, "--user", "bob")
        assert found["user"] == "bob"
        assert found["bytes_before"] > 900_000 > found["bytes_after"]
        status, out, told = run(capsys, "compact", *there, "--user", "nobody")
        assert (status, out, told.count("\n")) == (1, "", 1)
        assert "USER_NOT_FOUND" in told
    assert not any(b"PASSWORD123" in path.read_bytes() for path in data.rglob("*.mdb"))


def test_clips_ranges_streams_and_users_are_erased_and_reported(
    data: Path, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with EmbeddedDatabase(data, config=CONFIG) as db:
        ids = [one.id for one in db.user("alice").clips(stream="porch")]
        fact = db.user("alice").facts()[0].id
    with where(data, how) as there:
        command = ("erase", *there, "--user", "alice", "--yes")
        one = report(capsys, *command, "--clip", ids[0])
        assert (one["clips"], one["clip_ids"], one["fact_ids"]) == (1, [ids[0]], [fact])
        second = as_text(NOW_NS + SECOND_NS)
        some = report(
            capsys,
            *command,
            "--stream",
            "porch",
            "--start",
            second,
            "--end",
            NOW_NS + 2 * SECOND_NS,
        )
        assert (some["clip_ids"], some["streams"]) == ([ids[1]], [])
        both = report(capsys, *command, "--end", second.replace("Z", "+00:00"))
        assert (both["clips"], both["streams"]) == (
            1,
            [],
        )  # what was left of the first second: the yard's
        whole = report(capsys, *command, "--stream", "porch")
        assert (whole["clips"], whole["streams"]) == (2, ["porch"])
        gone = report(capsys, *command, "--everything")
        assert (gone["user"], gone["facts"]) == ("alice", 1)
        assert run(capsys, "users", *there)[1] == "bob  revision 1  0 streams  serving\n"


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ((), "expected --clip"),
        (("--everything", "--stream", "porch", "--yes"), "--everything alone"),
        (("--everything", "--start", "0", "--yes"), "--everything alone"),
        (("--everything",), "user alice, with all streams and facts"),
        (("--stream", "porch"), "stream porch of alice"),
        (("--clip", "x", "--clip", "y"), "2 clips of alice"),
        (
            ("--stream", "porch", "--end", "5"),
            "every clip of alice, stream porch that touches [, 5)",
        ),
    ],
)
def test_nothing_is_erased_without_yes_or_by_half_a_command(
    data: Path, options: tuple[str, ...], what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, told = run(capsys, "erase", data, "--user", "alice", *options)
    assert (status, out, told.count("\n")) == (2, "", 1)
    assert "BAD_USAGE" in told
    assert what in told
    assert "--yes" in told or "--yes" in options or not options
    assert untouched(data)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--stream", "", "--start", "0"), "BAD_ID"),
        (("--start", ""), "BAD_TIME"),
        (("--start", "2026-01-05T12:00:00"), "BAD_TIME"),
        (("--start", "2026-01-05"), "BAD_TIME"),
        (("--start", "9" * 60), "TIME_RANGE"),
        (("--start", "5", "--end", "4"), "(field end, value 4)"),
        (("--start", "1970-01-01T00:00:05Z", "--end", "1970-01-01T01:00:05+01:00"), "TIME_RANGE"),
        (("--clip", ""), "EMPTY"),
        (("--clip", "0" * 32), "CLIP_NOT_FOUND"),
    ],
)
def test_what_is_wrong_erases_nothing(
    data: Path, options: tuple[str, ...], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, told = run(capsys, "erase", data, "--user", "alice", "--yes", *options)
    assert (status, out, told.count("\n")) == (1 if "NOT_FOUND" in reason else 2, "", 1)
    assert reason in told
    assert untouched(data)


@pytest.mark.parametrize(
    ("options", "status", "reason"),
    [
        (("--max-clips", "few"), 2, "BAD_USAGE"),
        (("--max-clips", "-1"), 2, "BAD_USAGE"),
        (("--clear", "--max-clips", "1"), 2, "BAD_USAGE"),
        (("--max-clips", "0"), 2, "OUT_OF_RANGE"),
        (("--max-age-s", "9" * 19), 2, "OUT_OF_RANGE"),
    ],
)
def test_a_wrong_policy_changes_nothing(
    data: Path,
    options: tuple[str, ...],
    status: int,
    reason: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = ("retention", data, "--user", "alice", "--stream", "porch", *options)
    found, out, told = run(capsys, *command)
    assert (found, out, told.count("\n")) == (status, "", 1)
    assert reason in told
    with EmbeddedDatabase(data, config=CONFIG) as db:
        assert db.user("alice").stream("porch").retention() == Retention()


@pytest.mark.parametrize(
    "command",
    [
        ("users",),
        ("sweep",),
        ("retention", "--user", "a", "--stream", "s"),
        ("erase", "--user", "a", "--everything", "--yes"),
    ],
)
def test_a_directory_that_is_none_is_not_made(
    command: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, told = run(capsys, command[0], tmp_path / "none", *command[1:])
    assert (status, out, told.count("\n")) == (1, "", 1)
    assert not (tmp_path / "none").exists()
    status, out, told = run(capsys, *command)
    assert (status, out, told.count("\n"), "BAD_USAGE" in told) == (2, "", 1, True)


@pytest.mark.parametrize("command", ["users", "verify"])
def test_a_name_that_no_directory_can_have_is_told_in_a_line(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """As one of somebody else is: to look at it is refused, which is no answer to whether it is there."""
    status, out, told = run(capsys, command, "a" * 300)
    assert (status, out, told.count("\n")) == (1, "", 1)
    assert "NO_DIRECTORY: the directory cannot be used: File name too long" in told


def untouched(data: Path) -> bool:
    with EmbeddedDatabase(data, config=CONFIG) as db:
        try:
            return len(db.user("alice").clips()) == 5
        except MemdbError:
            return False
