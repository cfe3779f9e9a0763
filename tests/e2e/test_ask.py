"""`memdb-ask` against a real server, with the bundled text encoder: questions to moments.

What the cameras saw is written as sentence vectors of descriptions, because here the way from a
question to an answer is under test; the way from pictures is `test_demo`'s.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import memdb_client
from memdb import Clip, Unavailable, Utterance
from memdb.types.arrays import Array
from perception.encoders.text import BUNDLED_DIM, BUNDLED_MODEL, BundledTextEncoder
from reasoner.answer import Answer
from reasoner.cli import main
from reasoner.demo.processes import Children, free_port, listens, wait_until
from reasoner.reasoner import Reasoner
from tests.unit.reasoner.chat_peer import ChatPeer

pytestmark = [pytest.mark.e2e, pytest.mark.weights]

START_NS = 1_767_603_600 * 10**9  # 2026-01-05T09:00:00Z
SCENES: dict[str, list[tuple[str, tuple[str, ...]]]] = {
    "yard": [
        ("a red bicycle leaning on a wall", ()),
        ("a brown dog running over the lawn", ("Good dog, come here.",)),
        ("rain on the window", ("The train to Vienna leaves at seven.",)),
    ],
    "kitchen": [
        ("a kettle boiling on the stove", ("I put the keys into the blue bowl.",)),
        ("a cat asleep on a chair", ()),
    ],
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that holds `SCENES` for user alice; each clip takes ten seconds."""
    encoder = BundledTextEncoder()
    try:
        encoder.encode(["warm"])
    except Unavailable as error:
        pytest.skip(f"the bundled weights cannot be fetched: {error}")
    folder, port = tmp_path_factory.mktemp("ask"), free_port()
    address = f"127.0.0.1:{port}"
    with Children(folder) as children:
        arguments = ["serve", "--data", str(folder / "data"), "--listen", address]
        children.start("memdb", arguments, log="server.log")
        assert wait_until(lambda: listens(port), 30), children.log_tail("server.log")
        with memdb_client.connect(address) as db:
            db.create_space("bundled", dim=BUNDLED_DIM, model=BUNDLED_MODEL)
            db.create_space("other", dim=4)
            user = db.user("alice")
            user.configure(text_space="bundled")
            for camera, scenes in SCENES.items():
                clips = [clip(seq, encoder, *scene) for seq, scene in enumerate(scenes)]
                user.stream(camera, space="bundled").write_many(clips)
            odd = Clip(seq=0, start_ns=0, end_ns=1, global_memory=encoder.encode(["x"])[0][:4])
            db.user("mixed").stream("a", space="other").write(odd)
            db.user("mixed").stream("b", space="bundled").write(
                clip(0, encoder, "a cat asleep on a chair", ())
            )
            db.create_space("bundled-2", dim=BUNDLED_DIM, model=BUNDLED_MODEL)
            db.user("torn").stream("a", space="bundled-2").create()
            db.user("torn").stream("b", space="bundled").create()
        yield address


def clip(seq: int, encoder: BundledTextEncoder, shows: str, spoken: tuple[str, ...]) -> Clip:
    start_ns = START_NS + 10 * seq * 10**9
    features: Array | None = encoder.encode(spoken) if spoken else None
    return Clip(
        seq=seq,
        start_ns=start_ns,
        end_ns=start_ns + 10 * 10**9,
        global_memory=encoder.encode([shows])[0],
        transcript=tuple(Utterance(start_ns, start_ns + 3 * 10**9, text) for text in spoken),
        transcript_features=features,
        labels={"scene": shows},
    )


def ask(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    assert main([*arguments, "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def moment(answer: dict[str, Any]) -> tuple[str, str, str]:
    found = answer["evidence"][answer["cited"][0]]
    return found["arm"], found["camera"], found["start"]


def test_the_command_answers_what_was_seen_and_what_was_said(server: str) -> None:
    questions = ["Which camera saw a dog?", "Where are the keys?", "Who spoke of Vienna?"]
    program = Path(sys.executable).with_name("memdb-ask")
    command = [str(program), "--server", server, "--user", "alice", "--json", *questions]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [moment(answer) for answer in answers] == [
        ("seen", "yard", "2026-01-05T09:00:10.000Z"),
        ("said", "kitchen", "2026-01-05T09:00:00.000Z"),
        ("said", "yard", "2026-01-05T09:00:20.000Z"),
    ]
    assert {answer["answered_by"] for answer in answers} == {"extractive"}
    assert all(answer["recall_arms"] == ["lexical", "semantic"] for answer in answers)


def test_the_table_names_camera_time_and_support(
    server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--server", server, "--user", "alice", "Was there a cat?"]) == 0
    shown = capsys.readouterr().out
    assert "kitchen  2026-01-05 09:00:10.0–09:00:20.0  seen" in shown
    assert "[a cat asleep on a chair]" in shown
    assert "no language model was asked" in shown


def test_questions_from_a_file_and_a_scope(
    server: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "questions.txt"
    path.write_text("# two questions\n\na dog on screen\na cat on screen\n")
    options = ["--camera", "kitchen", "--start", "2026-01-05T09:00:10Z", "--limit", "2"]
    answers = ask(capsys, "--server", server, "--user", "alice", "--questions", str(path), *options)
    assert [answer["question"] for answer in answers] == ["a dog on screen", "a cat on screen"]
    found = {(item["camera"], item["start"]) for item in answers[0]["evidence"]}
    assert found == {("kitchen", "2026-01-05T09:00:10.000Z")}


def test_facts_of_another_time(server: str, capsys: pytest.CaptureFixture[str]) -> None:
    with memdb_client.connect(server) as db:
        gate = "the code of the gate is four"
        db.user("alice").remember(gate, valid_from=START_NS, valid_to=START_NS + 1)
    common = ["--server", server, "--user", "alice", "What is the code of the gate?"]

    def told(*options: str) -> list[str]:
        (answer,) = ask(capsys, *common, *options)
        return [text for one in answer["evidence"] if one["arm"] == "fact" for text in one["said"]]

    assert told() == []
    assert told("--valid-at", "2026-01-05T09:00:00Z") == [gate] == told("--valid-at", "any")
    assert told("--valid-at", "any", "--about", "gate") == []
    assert main([*common, "--valid-at", "yesterday"]) == 2
    assert "valid-at" in capsys.readouterr().err


def test_facts_whose_clips_are_too_many_are_told_of(
    server: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with memdb_client.connect(server) as db:
        (seen,) = db.user("alice").clips(stream="yard", limit=1)
        known = db.user("alice").remember("the code of the gate is four", evidence=[seen.id])
        asked = ["--server", server, "--user", "alice", "--camera", "yard", "the code of the gate"]
        assert ask(capsys, *asked)[0]["facts_unplaced"] == 0
        monkeypatch.setattr("reasoner.fact_clips.LOOK_UPS_MAX", 0)
        assert main([*asked, "--json"]) == 0
        printed = capsys.readouterr()
        db.user("alice").forget(known.id)
    assert json.loads(printed.out)["facts_unplaced"] == 1
    assert "memdb-ask: question 1: of 1 facts not all clips were looked at" in printed.err


def test_labels(server: str, capsys: pytest.CaptureFixture[str]) -> None:
    common = ["--server", server, "--user", "alice", "a cat on screen", "--limit", "9"]
    seen = "a cat asleep on a chair"
    (found,) = ask(capsys, *common, "--label", f"scene={seen}", "--label", "scene=nothing")
    assert {tuple(item["labels"]) for item in found["evidence"]} == {(seen,)}
    (nothing,) = ask(capsys, *common, "--label", f"scene={seen}", "--label", "zone=porch")
    assert nothing["abstained"]
    (others,) = ask(capsys, *common, "--without-label", f"scene={seen}")
    assert others["evidence"]
    assert (seen,) not in {tuple(item["labels"]) for item in others["evidence"]}
    assert main([*common, "--label", "scene=x", "--without-label", "scene=y"]) == 2
    assert "AMBIGUOUS" in capsys.readouterr().err
    assert main([*common, "--label", "porch"]) == 2
    assert "expected KEY=VALUE" in capsys.readouterr().err


def test_hours_of_the_day_and_a_no(server: str, capsys: pytest.CaptureFixture[str]) -> None:
    """All clips are of 9 o'clock UTC, a Monday."""
    common = ["--server", server, "--user", "alice", "a cat on screen"]
    (morning,) = ask(capsys, *common, "--hours", "08:00-09:30", "--weekday", "mon")
    assert (morning["evidence"][0]["camera"], morning["abstained"]) == ("kitchen", False)
    assert 0 <= morning["evidence"][0]["arms"]["relevance"] <= 1
    (tokyo,) = ask(capsys, *common, "--hours", "18:00-18:01", "--zone", "Asia/Tokyo")
    assert tokyo["evidence"] == morning["evidence"]

    (night,) = ask(capsys, *common, "--hours", "22:00-06:00")
    assert (night["cited"], night["abstained"]) == ([], True)
    assert {part["clips"] for part in night["coverage"]} == {0}
    assert main([*common, "--min-relevance", "0.9999"]) == 0
    shown = capsys.readouterr().out
    assert (
        "Nothing like that was seen; cameras and hours covered: kitchen 2026-01-05 09:00–10:00"
        in shown
    )

    assert main([*common, "--zone", "Asia/Tokyo"]) == 0
    shown = capsys.readouterr().out
    assert "from–to (Asia/Tokyo)" in shown
    assert "kitchen  2026-01-05 18:00:10.0–18:00:20.0" in shown
    (tokyo,) = ask(capsys, *common, "--zone", "Asia/Tokyo")
    assert "2026-01-05 18:00:10.0–18:00:20.0 Asia/Tokyo" in tokyo["answer"]
    assert (tokyo["zone"], tokyo["evidence"][0]["start"]) == (
        "Asia/Tokyo",
        "2026-01-05T09:00:10.000Z",
    )
    assert main([*common, "--zone", "Asia/Nowhere"]) == 2
    assert "BAD_ZONE" in capsys.readouterr().err

    assert main([*common, "--hours", "22:00"]) == 2
    assert "BAD_HOURS" in capsys.readouterr().err
    assert main([*common, "--weekday", "mo"]) == 2
    assert "BAD_WEEKDAY" in capsys.readouterr().err
    (typed,) = ask(capsys, *common, "--hours", "8-9:30", "--weekday", "Monday")
    assert typed["evidence"] == morning["evidence"]
    at_night = [*common[:-1], "Was a cat on screen at night?"]
    assert main(at_night) == 0
    told = 'memdb-ask: question 1: "at night" is not read as a time; --start, --end, --hours and --weekday narrow'
    assert capsys.readouterr().err.startswith(told)
    assert main([*at_night, "--hours", "22-6"]) == 0
    assert capsys.readouterr().err == ""
    assert main([*common[:-1], "--limit", "1", "A cat?", "And after that?"]) == 0
    assert capsys.readouterr().err.startswith("memdb-ask: question 2: each is asked by itself")
    for end in ("2026-01-05T09:00:00Z", "2026-01-05T10:00:00Z"):
        assert main([*common, "--start", "2026-01-05T10:00:00Z", "--end", end]) == 2
        told = f"it does not lie behind --start (field end, value {end})"
        assert told in capsys.readouterr().err
    assert main([*common, "--min-relevance", "7"]) == 2


def test_as_of_a_revision_and_a_time(server: str, capsys: pytest.CaptureFixture[str]) -> None:
    common = ["--server", server, "--user", "alice", "When was a tiger on screen?"]
    (before,) = ask(capsys, *common)
    with memdb_client.connect(server) as db:
        late = clip(3, BundledTextEncoder(), "a tiger in the yard", ())
        db.user("alice").stream("yard").write(late)
    (after,) = ask(capsys, *common)
    (again,) = ask(capsys, *common, "--as-of", str(before["revision"]))
    assert after["evidence"][0]["labels"] == ["a tiger in the yard"]
    assert (again["evidence"], again["revision"]) == (before["evidence"], before["revision"])
    (now,) = ask(capsys, *common, "--as-of", datetime.now(UTC).isoformat())
    assert now["evidence"] == after["evidence"]


def test_a_language_model_words_the_answer(server: str, capsys: pytest.CaptureFixture[str]) -> None:
    with ChatPeer(reply="They lie in the blue bowl [1].") as peer:
        options = ["--llm", peer.url, "--model", "small"]
        (answer,) = ask(
            capsys, "--server", server, "--user", "alice", "Where are the keys?", *options
        )
        assert (answer["answer"], answer["answered_by"]) == (peer.reply, "small")
        assert "I put the keys into the blue bowl." in peer.requests[0]["messages"][1]["content"]
        assert main(["--server", server, "--user", "alice", "Where are the keys?", *options]) == 0
    assert "small: They lie in the blue bowl [1]." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--user", "nobody", "a cat"], "USER_NOT_FOUND"),
        (["--user", "a/b", "a cat"], "BAD_ID"),
        (
            ["--user", "alice", "--camera", "cellar", "a cat"],
            "there are kitchen, yard (field camera",
        ),
        (["--user", "alice", "--space", "nowhere", "a cat"], "SPACE_NOT_FOUND"),
        (["--user", "alice", "--space", "other", "a cat"], "ENCODER_MISSING"),
        (["--user", "mixed", "--camera", "a", "a cat"], "ENCODER_MISSING"),
        (["--user", "torn", "a cat"], "SPACE_REQUIRED"),
        (["--user", "alice", "--start", "yesterday", "a cat"], "BAD_TIME"),
        (["--user", "alice", "--start", "2026-01-05T09:00:00", "a cat"], "BAD_TIME"),
        (["--user", "alice", "--end", "2026-01-05", "a cat"], "BAD_TIME"),
        (["--user", "alice", "--as-of", "2026-01-05T09:00:00", "a cat"], "BAD_TIME"),
        (["--user", "alice", "--min-score", "1.5", "a cat"], "OUT_OF_RANGE"),
        (["--user", "alice", "--min-score", "nan", "a cat"], "OUT_OF_RANGE"),
        (["--user", "alice", "--as-of", "no-such-snapshot", "a cat"], "SNAPSHOT_NOT_FOUND"),
        (["--user", "alice", "--limit", "0", "a cat"], "OUT_OF_RANGE"),
        (["--user", "alice", "--about", "", "a cat"], "EMPTY"),
        (["--user", "alice", "--hours", "9am-5pm", "a cat"], "such as 22:00-06:00 or 9-17;"),
        (["--user", "alice", "--questions", "/nowhere/at/all"], "BAD_FILE"),
        (["--user", "alice", "a cat", "--llm", "ftp://x", "--model", "m"], "BAD_URL"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value[1:]),
)
def test_an_error_is_one_line_and_an_exit_code(
    server: str, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    failed = "NOT_FOUND" in told or told == "ENCODER_MISSING"
    status = 1 if failed else 2
    assert main(["--server", server, *arguments]) == status
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("memdb-ask: ")
    assert told in shown.err
    assert shown.err.count("\n") == 1


def test_a_language_model_that_fails_is_an_error(
    server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with ChatPeer(status=403) as peer:
        options = ["--llm", peer.url, "--model", "small", "--user", "alice"]
        assert main(["--server", server, "a cat", "the keys", *options]) == 1
    shown = capsys.readouterr()
    assert shown.err.count("LLM_PERMISSION_DENIED") == 2
    # What memory has is told all the same.
    assert "kitchen  2026-01-05 09:00:10.0–09:00:20.0  seen" in shown.out
    assert "the language model did not answer" in shown.out


def test_what_was_answered_before_an_error_is_printed(
    server: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    ask_really = Reasoner.ask

    def ask(self: Reasoner, text: str, **options: Any) -> Answer:
        asked.append(text)
        if len(asked) == 2:
            raise Unavailable("the server went away")
        return ask_really(self, text, **options)

    monkeypatch.setattr(Reasoner, "ask", ask)
    assert main(["--server", server, "--user", "alice", "a cat", "the keys"]) == 1
    shown = capsys.readouterr()
    assert "kitchen  2026-01-05 09:00:10.0–09:00:20.0  seen" in shown.out
    assert "the server went away" in shown.err


def test_a_bad_question_does_not_keep_the_others_from_being_asked(
    server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    questions = ["Was there a cat?", "", "?", "Where are the keys?"]
    command = ["--server", server, "--user", "alice", *questions]
    assert main([*command, "--json"]) == 1
    shown = capsys.readouterr()
    rows = [json.loads(line) for line in shown.out.splitlines()]
    assert [row["question"] for row in rows] == questions
    assert ["EMPTY" in row.get("error", "") for row in rows] == [False, True, True, False]
    assert [row.get("reason") for row in rows] == [None, "EMPTY", "EMPTY", None]
    assert moment(rows[3]) == ("said", "kitchen", "2026-01-05T09:00:00.000Z")
    told = shown.err.splitlines()
    assert [line.partition(": EMPTY")[0] for line in told] == [
        "memdb-ask: question 2",
        "memdb-ask: question 3",
    ]
    assert main(command) == 1
    assert "EMPTY: a question has words" in capsys.readouterr().out


def test_a_question_without_its_quotes_is_told(
    server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--server", server, "--user", "alice"]
    assert main([*command, "a", "cat"]) == 0
    assert "2 questions of a word each" in capsys.readouterr().err
    assert main([*command, "a cat", "dog"]) == 0
    assert capsys.readouterr().err == ""


def test_one_camera_of_several_that_there_is_not(
    server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    cameras = ["--camera", "yard", "--camera", "garag"]
    assert main(["--server", server, "--user", "alice", "a cat", *cameras]) == 2
    told = "NO_STREAMS: no such cameras; there are kitchen, yard (field camera, value garag)"
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii"])
def test_questions_and_terminals_of_any_encoding(server: str, encoding: str) -> None:
    """What is no text is refused by itself, and each line is JSON all the same."""
    questions = [b"\xff cat", "Gibt es 猫 🐈 – oder nicht?".encode(), b"a cat"]
    command = [sys.executable, "-m", "reasoner.cli", "--server", server, "--user", "alice"]
    environment = {**os.environ, "PYTHONIOENCODING": f"{encoding}:surrogateescape"}
    done = subprocess.run(
        [*command, "--json", *questions], env=environment, capture_output=True, check=False
    )
    assert (done.returncode, b"Traceback" in done.stderr) == (1, False)
    rows = [json.loads(line) for line in done.stdout.decode(encoding).splitlines()]
    assert [os.fsencode(row["question"]) for row in rows] == questions
    assert [row.get("reason") for row in rows] == ["BAD_TEXT", None, None]
    done = subprocess.run([*command, *questions], env=environment, capture_output=True, check=False)
    assert (done.returncode, b"Traceback" in done.stderr) == (1, False)
    assert len(done.stdout.decode(encoding).splitlines()) >= 5


def test_the_only_space_with_an_encoder_is_asked(
    server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--server", server, "--user", "mixed", "Was there a cat?", "--json"]) == 0
    shown = capsys.readouterr()
    assert moment(json.loads(shown.out))[:2] == ("seen", "b")
    told = "memdb-ask: asking in space bundled; no encoder for the clips of a\n"
    assert shown.err == told


def test_a_missing_extra_is_one_line() -> None:
    code = "import sys; sys.modules['tokenizers'] = None; from reasoner.cli import main"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; sys.exit(main())", "--server", "127.0.0.1:9",
         "--user", "alice", "a cat"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    told = 'memdb-ask: tokenizers is not installed: this needs the extra "memdb[reasoner]"\n'
    assert done.stderr == told


def test_a_server_without_a_port(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--server", "localhost", "--user", "alice", "a cat"]) == 2
    assert "BAD_ADDRESS" in capsys.readouterr().err


def test_a_server_that_is_not_there_is_told_soon(capsys: pytest.CaptureFixture[str]) -> None:
    started_s = time.monotonic()
    assert main(["--server", f"127.0.0.1:{free_port()}", "--user", "alice", "a cat"]) == 1
    assert time.monotonic() - started_s < 15
    assert "is memdb serve running there?" in capsys.readouterr().err


def test_no_server_is_an_error_in_the_time_given(capsys: pytest.CaptureFixture[str]) -> None:
    server = f"127.0.0.1:{free_port()}"
    assert main(["--server", server, "--user", "alice", "--timeout", "0.5", "a cat"]) == 1
    assert "UNAVAILABLE" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--user", "alice"],
        ["--use", "alice", "a cat"],
        ["a cat"],
        ["--user", "alice", "a cat", "--llm", "http://x"],
        ["--user", "alice", "a cat", "--model", "small"],
    ],
)
def test_wrong_usage_is_exit_code_2(server: str, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--server", server, *arguments])
    assert caught.value.code == 2


def test_help_is_quick_and_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    assert "memdb-ask --server localhost:7700 --user alice" in capsys.readouterr().out


@pytest.mark.parametrize("form", [(), ("--json",)], ids=["table", "json"])
def test_answers_that_nobody_takes(server: str, form: tuple[str, ...]) -> None:
    asked = [
        "--server",
        server,
        "--user",
        "alice",
        *form,
        "Was there a cat?",
        "Where are the keys?",
    ]

    def told(to: int) -> tuple[int, str]:
        try:
            done = subprocess.run(
                [sys.executable, "-m", "reasoner.cli", *asked],
                stdout=to, stderr=subprocess.PIPE, text=True, timeout=100, check=False,
            )  # fmt: skip
        finally:
            os.close(to)
        return done.returncode, done.stderr

    status, line = told(os.open("/dev/full", os.O_WRONLY))
    assert (status, line.count("\n")) == (1, 1)
    assert "OUTPUT_LOST" in line
    reader, writer = os.pipe()
    os.close(reader)
    assert told(writer) == (1, "")


def test_no_questions_come_from_a_standard_input_that_is_closed() -> None:
    ask = [sys.executable, "-m", "reasoner.cli", "--server", "127.0.0.1:1", "--user", "alice"]
    done = subprocess.run(
        ["sh", "-c", 'exec "$0" "$@" 0<&-', *ask, "--questions", "-"],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "memdb-ask: error: a question, or --questions FILE"
