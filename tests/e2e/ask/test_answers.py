"""`memdb-ask` against a real server: questions to moments."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

import memdb_client
from perception.encoders.text import BundledTextEncoder
from reasoner.cli import main
from tests.e2e.ask.scenes import START_NS, ask, clip, moment
from tests.unit.reasoner.chat_peer import ChatPeer

pytestmark = [pytest.mark.e2e, pytest.mark.weights]


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
    assert main([*common[:-1], "A cat?", "How many cats were on screen?"]) == 0
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith('memdb-ask: question 2: "How many" is not reckoned')
    assert main([*common[:-1], "What happened?", "What was said?"]) == 0
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith("memdb-ask: question 1: it names nothing to look for")
    for end in ("2026-01-05T09:00:00Z", "2026-01-05T10:00:00Z"):
        assert main([*common, "--start", "2026-01-05T10:00:00Z", "--end", end]) == 2
        told = f"it does not lie behind --start (field end, value {end})"
        assert told in capsys.readouterr().err
    assert main([*common, "--min-relevance", "7"]) == 2


def test_options_may_stand_between_questions(
    server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["--server", server, "--user", "alice"]
    arguments = ["A cat?", *common, "A tiger?", "--json", "--limit", "1", "--", "-a dog"]
    assert main(arguments) == 0
    answers = map(json.loads, capsys.readouterr().out.splitlines())
    assert [answer["question"] for answer in answers] == ["A cat?", "A tiger?", "-a dog"]
    with pytest.raises(SystemExit) as ended:
        main([*common, "A cat?", "--limits", "1", "A dog?"])
    assert ended.value.code == 2
    assert "unrecognized arguments: --limits" in capsys.readouterr().err


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


def test_the_only_space_with_an_encoder_is_asked(
    server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--server", server, "--user", "mixed", "Was there a cat?", "--json"]) == 0
    shown = capsys.readouterr()
    assert moment(json.loads(shown.out))[:2] == ("seen", "b")
    told = "memdb-ask: asking in space bundled; no encoder for the clips of a\n"
    assert shown.err == told
