"""From question to answer over a real embedded database.

The encoder here gives each known word an axis: a second implementation of `QuestionEncoder` whose
cosines can be worked out by hand.  Meaning is the end-to-end tests' business, with the bundled
weights.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import memdb
from memdb import Clip, InvalidArgument, NotFound, SoundEvent, Space, Statement, Utterance
from memdb.clock import ManualClock
from memdb.engine.database import EmbeddedDatabase
from memdb.types.arrays import Array
from memdb.types.calendar import Calendar
from memdb.types.database import User
from reasoner.answer import EXTRACTIVE
from reasoner.arguments import Asking
from reasoner.evidence import Scope
from reasoner.models.openai import OpenAIModel
from reasoner.reasoner import Reasoner
from reasoner.table import answers_table
from tests.unit.reasoner.chat_peer import ChatPeer

SECOND_NS = 1_000_000_000
AXES = ("cat", "dog", "hope", "despair", "rain")
SPACE = Space("axes", len(AXES) + 1, model="tests:axes@1")


class AxisEncoder:
    """The mean of the axes of the known words; the last axis for a text without any."""

    def encode(self, texts: Sequence[str]) -> Array:
        rows = np.zeros((len(texts), SPACE.dim), np.float32)
        for row, text in zip(rows, texts, strict=True):
            for axis, word in enumerate(AXES):
                row[axis] = word in text.lower()
            row[-1] = not row.any()
            row /= np.linalg.norm(row)
        return rows


def clip(seq: int, shows: str, *spoken: str, start_s: int | None = None) -> Clip:
    start_ns = (10 * seq if start_s is None else start_s) * SECOND_NS
    encoder = AxisEncoder()
    utterances = tuple(
        Utterance(start_ns + index * SECOND_NS, start_ns + (index + 1) * SECOND_NS, text)
        for index, text in enumerate(spoken)
    )
    return Clip(
        seq=seq,
        start_ns=start_ns,
        end_ns=start_ns + 8 * SECOND_NS,
        global_memory=encoder.encode([shows])[0],
        transcript=utterances,
        transcript_features=encoder.encode(spoken) if spoken else None,
        labels={"scene": shows},
    )


@pytest.fixture
def user(tmp_path: Path) -> Iterator[User]:
    with memdb.open(tmp_path / "data") as db:
        db.create_space(SPACE.name, dim=SPACE.dim, model=SPACE.model)
        user = db.user("alice")
        user.stream("yard", space=SPACE.name).create()
        user.configure(text_space=SPACE.name)
        user.stream("yard").write_many([clip(0, "cat"), clip(1, "dog", "the spring of hope")])
        user.stream("porch", space=SPACE.name).write_many(
            [clip(0, "rain", "the winter of despair"), clip(1, "nothing", "no dog here")]
        )
        yield user


@pytest.fixture
def reasoner(user: User) -> Reasoner:
    return Reasoner(user, SPACE, AxisEncoder())


def test_what_was_seen(reasoner: Reasoner) -> None:
    answer = reasoner.ask("When was the cat on screen?")
    assert answer.moment is not None
    assert (answer.moment.arm, answer.moment.camera, answer.moment.start_ns) == ("seen", "yard", 0)
    assert answer.moment.score == pytest.approx(1.0, abs=1e-3)
    assert answer.answered_by == EXTRACTIVE
    assert answer.text == (
        "Seen on camera yard, 1970-01-01 00:00:00.0–00:00:08.0 UTC (similarity 1.00); labelled cat."
    )


@pytest.mark.parametrize("limit", [1, 251, 1000])
def test_as_much_as_may_be_asked_for_is_answered(reasoner: Reasoner, limit: int) -> None:
    assert reasoner.ask("When was the cat on screen?", limit=limit).moment is not None


def test_what_was_said(reasoner: Reasoner) -> None:
    answer = reasoner.ask("Who spoke of despair?")
    assert answer.moment is not None
    assert (answer.moment.arm, answer.moment.camera) == ("said", "porch")
    assert answer.text.endswith('UTC: "the winter of despair"')
    assert "semantic" in answer.recall_arms


def test_seen_and_said_of_one_thing_are_told_apart(reasoner: Reasoner) -> None:
    seen = reasoner.ask("Which camera saw a dog?").moment
    said = reasoner.ask("Which camera heard of a dog?").moment
    assert seen is not None
    assert said is not None
    assert (seen.camera, said.camera) == ("yard", "porch")


def test_what_was_said_meanwhile_is_quoted(reasoner: Reasoner) -> None:
    answer = reasoner.ask("What was said while the dog was on screen?")
    assert answer.text.endswith('said meanwhile: "the spring of hope".')


def test_a_picture_never_answers_a_question_about_speech(reasoner: Reasoner) -> None:
    answer = reasoner.ask("Who spoke of the cat?")
    assert answer.text == "Nothing that was said answers this."
    assert answer.moment is None
    assert answer.evidence[0].arm == "seen"


def test_a_least_score_bounds_what_is_seen(reasoner: Reasoner) -> None:
    answer = reasoner.ask("When was the cat on screen?", min_score=0.9)
    assert [item.arm for item in answer.evidence].count("seen") == 1
    assert not reasoner.ask("the rain and the cat", min_score=0.9).cited


def test_the_scope_bounds_both_arms(reasoner: Reasoner) -> None:
    porch = reasoner.ask("dog", scope=Scope(cameras=("porch",)))
    assert {item.camera for item in porch.evidence} == {"porch"}
    early = reasoner.ask("dog", scope=Scope(end_ns=9 * SECOND_NS))
    assert all(item.start_ns < 9 * SECOND_NS for item in early.evidence)
    nowhere = reasoner.ask("dog", scope=Scope(start_ns=10**15))
    assert nowhere.text == (
        "Nothing like that was seen; cameras and hours covered: no clips of porch, yard; gaps: none."
    )


def test_labels_bound_both_arms(reasoner: Reasoner) -> None:
    """Of a dog the picture of one clip speaks, and the words of one that shows nothing."""
    dog = reasoner.ask("dog", scope=Scope(labels=(("scene", ("dog",)),)))
    assert {(item.arm, item.labels) for item in dog.evidence} == {("seen", ("dog",))}
    other = reasoner.ask("dog", scope=Scope(labels=(("scene", ("nothing",)),)))
    assert {item.said for item in other.evidence if item.arm == "said"} == {("no dog here",)}
    assert {item.labels for item in other.evidence} == {("nothing",)}
    two = reasoner.ask("dog", scope=Scope(labels=(("scene", ("dog", "nothing")),)))
    assert {item.labels for item in two.evidence} == {("dog",), ("nothing",)}
    assert not reasoner.ask("dog", scope=Scope(labels=(("zone", ("dog",)),))).evidence


def test_the_hours_of_the_day_bound_both_arms(user: User, reasoner: Reasoner) -> None:
    """All clips are of midnight UTC; in Kolkata it is half past five."""
    zones = {stream.name: stream.zone for stream in user.streams()}
    night = Scope(calendar=Calendar(((23 * 3600, 3600),)), zones=zones)
    dawn = Calendar(((5 * 3600, 6 * 3600),))

    assert {item.arm for item in reasoner.ask("dog", scope=night).evidence} == {"seen", "said"}
    assert reasoner.ask("dog", scope=Scope(calendar=dawn, zones=zones)).evidence == ()
    by_kolkata = Scope(calendar=replace(dawn, zone="Asia/Kolkata"), zones=zones)
    assert {item.arm for item in reasoner.ask("dog", scope=by_kolkata).evidence} == {"seen", "said"}


def test_a_no_says_where_it_looked(user: User, reasoner: Reasoner) -> None:
    user.stream("yard").write(clip(5, "dog", start_s=50))

    answer = reasoner.ask("When was the cat on screen?", min_relevance=0.999)

    assert (answer.abstained, answer.moment) == (True, None)
    assert "seen" not in {item.arm for item in answer.evidence}
    assert answer.text == (
        "Nothing like that was seen; cameras and hours covered: porch 1970-01-01 00:00–01:00"
        " (1 h, 2 clips); yard 1970-01-01 00:00–01:00 (1 h, 3 clips); gaps: yard 3 clips."
    )
    told = json.loads(json.dumps(answer.as_json()))
    assert told["abstained"] is True
    assert [part["stream"] for part in told["coverage"]] == ["porch", "yard"]
    assert answer.text in answers_table([answer])
    assert not reasoner.ask("When was the cat on screen?", min_relevance=1e-6).abstained


def test_a_language_model_is_told_that_nothing_matched(user: User) -> None:
    with ChatPeer(reply="No.") as peer, OpenAIModel(peer.url, "small") as model:
        Reasoner(user, SPACE, AxisEncoder(), model=model).ask("a cat", min_relevance=0.999)
    sent = peer.requests[0]["messages"][1]["content"]
    assert "(Nothing like that was seen; cameras and hours covered: porch 1970-01-01" in sent


def test_the_limit_bounds_the_evidence(reasoner: Reasoner) -> None:
    assert len(reasoner.ask("dog", limit=1).evidence) == 1
    with pytest.raises(InvalidArgument):
        reasoner.ask("dog", limit=0)


def test_an_answer_can_be_asked_again_at_its_revision(user: User, reasoner: Reasoner) -> None:
    before = reasoner.ask("cat and rain")
    user.stream("yard").write(clip(2, "cat rain", "cat and rain"))
    after = reasoner.ask("cat and rain")
    again = reasoner.ask("cat and rain", as_of=before.revision)
    assert after.evidence != before.evidence
    assert again.evidence == before.evidence
    assert again.revision == before.revision


def test_an_answer_is_of_one_moment_though_the_name_of_a_snapshot_moves(
    user: User, reasoner: Reasoner, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = user.snapshot("before", ttl_s=60)
    ground = user.ground

    def ground_and_move(*args: Any, **options: Any) -> Any:
        answer = ground(*args, **options)
        user.stream("porch").write(clip(9, "nothing", "the autumn of despair"))
        user.snapshot("before", ttl_s=60)
        return answer

    monkeypatch.setattr(
        type(user), "ground", lambda _, *args, **more: ground_and_move(*args, **more)
    )
    answer = reasoner.ask("Who spoke of despair?", as_of="before")

    assert answer.revision == before.revision
    assert [item.said for item in answer.evidence if item.arm == "said"] == [
        ("the winter of despair",)
    ]


@pytest.mark.parametrize("as_of", ["2026-01-05", "no-such-snapshot", 1000])
def test_a_moment_that_there_is_not_is_told_in_the_words_of_the_command(
    user: User, reasoner: Reasoner, as_of: str | int
) -> None:
    asking = Asking(Scope(), 4, as_of, None, None, None, None, None)
    with pytest.raises(NotFound) as refused:
        asking.ask(reasoner, "When was the cat on screen?")
    assert refused.value.field == "as-of"
    assert str(as_of) in str(refused.value)
    assert "a time is written with its offset from UTC: 2026-01-05T09:00:00Z" in str(refused.value)
    assert "datetime" not in str(refused.value)
    # A snapshot may be called so.
    if as_of == "2026-01-05":
        user.snapshot(as_of, ttl_s=60)
        assert asking.ask(reasoner, "When was the cat on screen?").moment is not None


def test_facts_are_those_that_hold_at_the_time_asked_about(user: User, reasoner: Reasoner) -> None:
    hour_ns = 3600 * SECOND_NS
    user.remember("the code of the gate is four", valid_from=1, valid_to=hour_ns)
    user.remember("the code of the gate is nine", valid_from=hour_ns)

    def told(**options: Any) -> set[str]:
        answer = reasoner.ask("What is the code of the gate?", **options)
        return {text for item in answer.evidence if item.arm == "fact" for text in item.said}

    assert told() == {"the code of the gate is nine"} == told(as_of=user.revision())
    assert told(valid_at=5) == {"the code of the gate is four"}
    assert told(as_of=user.revision(), valid_at=5) == {"the code of the gate is four"}
    assert len(told(valid_at="any")) == 2
    first = reasoner.ask("the code of the gate")
    again = reasoner.ask("the code of the gate", as_of=first.revision, valid_at=first.valid_at_ns)
    assert again.evidence == first.evidence
    assert again.as_json()["valid_at_ns"] == first.valid_at_ns


def test_facts_are_those_about_what_is_named(user: User, reasoner: Reasoner) -> None:
    user.remember_many([
        Statement("the code of the gate is four", about=["gate"]),
        Statement("the code of the door is nine", about=["door", "gate 2"]),
    ])  # fmt: skip

    def told(about: list[str] | None) -> set[str]:
        answer = reasoner.ask("What is the code?", about=about)
        return {text for item in answer.evidence if item.arm == "fact" for text in item.said}

    assert len(told(None)) == 2 == len(told(["gate", "gate 2"]))
    assert told(["gate"]) == {"the code of the gate is four"}
    assert told(["nothing"]) == set()


def test_a_fact_that_ended_since_the_last_commit_is_no_answer(tmp_path: Path) -> None:
    clock = ManualClock()
    with EmbeddedDatabase(tmp_path / "data", clock=clock) as db:
        db.create_space(SPACE.name, dim=SPACE.dim, model=SPACE.model)
        user = db.user("alice")
        user.stream("yard", space=SPACE.name).write(clip(0, "cat"))
        user.remember("the gate is open", valid_to=clock.now_ns() + 60 * SECOND_NS)
        reasoner = Reasoner(user, SPACE, AxisEncoder())

        def arms(**options: Any) -> list[str]:
            return [item.arm for item in reasoner.ask("Is the gate open?", **options).evidence]

        assert "fact" in arms()
        clock.advance(60 * SECOND_NS)
        assert "fact" not in arms()
        assert "fact" in arms(as_of=user.revision())


def test_what_others_said_more_of_hides_nothing_in_the_scope(
    user: User, reasoner: Reasoner
) -> None:
    """As many as a recall gives at most, all ahead of the one that was said on the porch."""
    spoken = ["hope"] * 501
    user.stream("yard").write_many(
        [clip(seq, "nothing", *spoken, start_s=1000 * seq) for seq in (2, 3)]
    )
    weak = "there is hope in all of this rain"
    user.stream("porch").write(clip(2, "nothing", weak))
    of_porch = Scope(cameras=("porch",))
    hours = ((20, 28),)  # seconds after midnight, of that clip alone
    for scope in (of_porch, replace(of_porch, start_ns=0), Scope(calendar=Calendar(hours))):
        answer = reasoner.ask("Who spoke of hope?", scope=scope)
        assert [item.said for item in answer.evidence if item.arm == "said"] == [(weak,)]


def test_facts_whose_clips_are_too_many_are_told_of(
    user: User, reasoner: Reasoner, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = [one.id for one in user.clips(stream="yard")]
    for number in range(3):
        user.remember(f"the code of the gate is {number}", evidence=seen)
    monkeypatch.setattr("reasoner.fact_clips.LOOK_UPS_MAX", 1)
    told = reasoner.ask("What is the code of the gate?")
    assert (told.facts_unplaced, told.as_json()["facts_unplaced"]) == (0, 0)
    told = reasoner.ask("What is the code of the gate?", scope=Scope(cameras=("porch",)))
    assert (told.facts_unplaced, told.as_json()["facts_unplaced"]) == (3, 3)
    assert "fact" not in {item.arm for item in told.evidence}


def test_before_there_was_anything_nothing_was_seen(reasoner: Reasoner) -> None:
    answer = reasoner.ask("When was the cat on screen?", as_of=0)
    assert (answer.evidence, answer.abstained, answer.revision) == ((), True, 0)
    assert "Nothing like that was seen; cameras and hours covered: none" in answer.text


def test_gaps_are_told(user: User, reasoner: Reasoner) -> None:
    user.stream("yard").write(clip(5, "cat", start_s=50))
    assert "(3 clips of this time are missing from memory.)" in reasoner.ask("cat on screen").text


def test_a_user_without_a_text_space_is_searched_by_words(tmp_path: Path) -> None:
    with memdb.open(tmp_path / "bare") as db:
        db.create_space(SPACE.name, dim=SPACE.dim, model=SPACE.model)
        user = db.user("bob")
        spoken = (Utterance(0, 1, "the winter of despair"),)
        shown = AxisEncoder().encode(["rain"])[0]
        user.stream("yard", space=SPACE.name).write(
            Clip(seq=0, start_ns=0, end_ns=9, global_memory=shown, transcript=spoken)
        )
        answer = Reasoner(user, SPACE, AxisEncoder()).ask("Who spoke of despair?")
        assert answer.recall_arms == ("lexical",)
        assert answer.moment is not None
        assert (answer.moment.arm, answer.moment.score) == ("said", 1.0)


def test_a_sound_is_found_by_its_name(user: User, reasoner: Reasoner) -> None:
    heard = SoundEvent(30 * SECOND_NS, 31 * SECOND_NS, "Siren", 0.9)
    user.stream("yard").write(replace(clip(3, "nothing at all"), events=(heard,)))
    answer = reasoner.ask("When was there a siren?")
    assert answer.moment is not None
    assert (answer.moment.arm, answer.moment.start_ns) == ("seen", 30 * SECOND_NS)
    assert "Siren" in answer.moment.labels
    assert answer.moment.arms["events"] > 0


def test_a_label_leads_among_pictures_that_are_alike(user: User, reasoner: Reasoner) -> None:
    alike = replace(clip(3, "cat"), labels={"scene": "cat Tom"})
    user.stream("yard").write(alike)
    answer = reasoner.ask("When was the cat Tom on screen?")
    assert answer.moment is not None
    assert answer.moment.start_ns == alike.start_ns


def test_an_unknown_camera_is_an_error(reasoner: Reasoner) -> None:
    with pytest.raises(NotFound):
        reasoner.ask("dog", scope=Scope(cameras=("cellar",)))


def test_an_answer_is_json(reasoner: Reasoner) -> None:
    told = json.loads(json.dumps(reasoner.ask("Who spoke of despair?").as_json()))
    assert told["cited"] == [0]
    assert told["evidence"][0]["said"] == ["the winter of despair"]
    assert set(told["durations_ms"]) == {"encode", "ground", "recall", "total"}


def test_a_language_model_words_the_answer_and_its_citation_is_the_moment(user: User) -> None:
    with (
        ChatPeer(reply="Rain was seen on the porch [2].") as peer,
        OpenAIModel(peer.url, "small") as model,
    ):
        answer = Reasoner(user, SPACE, AxisEncoder(), model=model).ask("Who spoke of despair?")
    assert (answer.text, answer.answered_by) == ("Rain was seen on the porch [2].", "small")
    assert answer.cited == (1,)
    assert answer.moment == answer.evidence[1]
    assert answer.durations_ms["llm"] > 0
    sent = peer.requests[0]["messages"][1]["content"]
    assert '"the winter of despair"' in sent
    assert sent.endswith("Question: Who spoke of despair?")


def test_a_model_that_cites_nothing_grounds_nothing(user: User) -> None:
    with (
        ChatPeer(reply="The evidence does not say.") as peer,
        OpenAIModel(peer.url, "small") as model,
    ):
        answer = Reasoner(user, SPACE, AxisEncoder(), model=model).ask("Who spoke of despair?")
    assert answer.moment is None
    assert answer.evidence


@pytest.mark.parametrize(
    "peer", [{"status": 503}, {"reply": None}, {"raw": b"<html>a proxy</html>"}]
)
def test_a_model_that_fails_costs_its_words_alone(
    user: User, reasoner: Reasoner, peer: dict[str, Any]
) -> None:
    without = reasoner.ask("Who spoke of despair?")
    with ChatPeer(**peer) as failing, OpenAIModel(failing.url, "small") as model:
        answer = Reasoner(user, SPACE, AxisEncoder(), model=model).ask("Who spoke of despair?")
    assert (answer.text, answer.evidence, answer.cited) == (
        without.text,
        without.evidence,
        without.cited,
    )
    assert answer.answered_by == EXTRACTIVE
    assert answer.model_error is not None
    assert answer.as_json()["model_error"].startswith("LLM_")
    assert "the language model did not answer" in answers_table([answer])
    assert without.as_json()["model_error"] is None


def test_what_steers_a_terminal_is_not_printed(user: User) -> None:
    said = "despair \x1b]0;owned\x07\x1b[2J\x9b31m"
    user.stream("porch").write(clip(2, "rain", said))
    with ChatPeer(reply=said + "\nand so on [1].") as peer, OpenAIModel(peer.url, "small") as model:
        answers = [
            Reasoner(user, SPACE, AxisEncoder(), model=asked).ask("Who spoke of despair?")
            for asked in (None, model)
        ]
    shown = answers_table(answers)
    assert all(char == "\n" or char.isprintable() for char in shown)
    assert "\nand so on [1]." in shown
