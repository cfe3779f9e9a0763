"""Evidence: one moment from two arms, and which arm goes first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import pytest

import memdb
from memdb import Clip, DataLoss, Fact, RecallHit, SoundEvent, StoredClip, Utterance
from memdb.engine.database import EmbeddedDatabase
from memdb.types.grounding import Hit
from reasoner.evidence import (
    EVERYWHERE,
    Evidence,
    Scope,
    answers,
    fuse,
    labels_of,
    said_evidence,
    seen_evidence,
)
from reasoner.fact_clips import FactClips, OutOfLookUps
from reasoner.questions import parse_question

SECOND_NS = 1_000_000_000


def moment(arm: str, score: float, start_s: int = 0) -> Evidence:
    return Evidence(
        arm, "yard", start_s * SECOND_NS, (start_s + 4) * SECOND_NS, score, f"{start_s}"
    )


def clip(
    start_s: int = 0, transcript: tuple[Utterance, ...] = (), camera: str = "yard"
) -> StoredClip:
    return StoredClip(
        seq=0,
        start_ns=start_s * SECOND_NS,
        end_ns=(start_s + 8) * SECOND_NS,
        global_memory=np.ones(4, np.float32),
        transcript=transcript,
        events=(SoundEvent(0, 1, "bark", 0.9),),
        labels={"scene": "dog, lawn", "zone": "dog"},
        id=f"{start_s:032x}",
        user="alice",
        stream=camera,
        space="s",
        revision=1,
    )


def said(text: str, arms: dict[str, float], start_s: int = 1, camera: str = "yard") -> RecallHit:
    utterance = Utterance(start_s * SECOND_NS, (start_s + 2) * SECOND_NS, text)
    return RecallHit("utterance", 1.0, arms, utterance=utterance, clip=clip(camera=camera))


def plain(seq: int = 0, **fields: Any) -> Clip:
    return Clip(
        seq=seq, start_ns=seq, end_ns=seq + 1, global_memory=np.ones(4, np.float32), **fields
    )


@pytest.fixture
def user(tmp_path: Path) -> Iterator[memdb.types.database.User]:
    with memdb.open(tmp_path / "data") as db:
        db.create_space("s", dim=4)
        yield db.user("alice")


def arms_in_order(text: str, seen: list[Evidence], spoken: list[Evidence], limit: int = 4) -> str:
    return " ".join(item.arm for item in fuse(parse_question(text), seen, spoken, limit))


class TestFuse:
    def test_a_word_of_speech_puts_speech_first(self) -> None:
        order = arms_in_order("Who said dog?", [moment("seen", 0.9)], [moment("said", 0.3)])
        assert order == "said seen"

    def test_but_not_speech_that_has_nothing_to_do_with_it(self) -> None:
        order = arms_in_order("Who said dog?", [moment("seen", 0.1)], [moment("said", 0.2)])
        assert order == "seen said"

    def test_a_word_of_seeing_puts_pictures_first(self) -> None:
        order = arms_in_order("Who saw a dog?", [moment("seen", 0.1)], [moment("said", 1.0)])
        assert order == "seen said"

    @pytest.mark.parametrize(("strength", "order"), [(0.6, "said seen"), (0.59, "seen said")])
    def test_without_either_strong_speech_goes_first(self, strength: float, order: str) -> None:
        found = arms_in_order("A dog?", [moment("seen", 0.9)], [moment("said", strength)])
        assert found == order

    def test_each_arm_is_best_first_and_the_other_keeps_half_of_the_places(self) -> None:
        seen = [
            moment("seen", score, start_s) for start_s, score in enumerate((0.4, 0.3, 0.2, 0.1))
        ]
        spoken = [moment("said", score, start_s) for start_s, score in enumerate((0.7, 0.9, 0.8))]
        found = fuse(parse_question("A dog?"), seen, spoken, 4)
        assert [item.score for item in found] == [0.9, 0.8, 0.4, 0.3]

    def test_one_arm_alone_fills_all_places(self) -> None:
        seen = [moment("seen", 0.1, start_s) for start_s in range(6)]
        assert len(fuse(parse_question("A dog?"), seen, [], 4)) == 4
        assert [item.start_ns for item in fuse(parse_question("A dog?"), seen, [], 2)] == [
            0,
            SECOND_NS,
        ]

    def test_one_place_goes_to_the_first_arm(self) -> None:
        assert arms_in_order("A dog?", [moment("seen", 0.9)], [moment("said", 0.7)], 1) == "said"

    def test_nothing_found_is_nothing(self) -> None:
        assert fuse(parse_question("A dog?"), [], [], 4) == ()


@pytest.mark.parametrize(
    ("text", "evidence", "answered"),
    [
        ("A dog?", [], False),
        ("Who saw a dog?", [moment("seen", 0.1)], True),
        ("Who said dog?", [moment("seen", 0.9)], False),
        ("A dog?", [moment("said", 0.2)], False),
        ("A dog?", [moment("said", 0.3)], True),
        ("A dog?", [moment("fact", 0.3)], True),
    ],
)
def test_what_answers(text: str, evidence: list[Evidence], answered: bool) -> None:
    assert answers(parse_question(text), evidence) is answered


class TestSaid:
    def test_strength_is_the_mean_of_meaning_and_words(
        self, user: memdb.types.database.User
    ) -> None:
        hit = said("We fail better.", {"semantic": 0.5, "lexical": 7.0})
        question = parse_question("Who said to fail again?")
        (found,) = said_evidence(question, [hit], EVERYWHERE, user).evidence
        assert found.arms == {"semantic": 0.5, "lexical": 7.0, "coverage": 0.5}
        assert found.score == 0.5

    def test_without_the_semantic_arm_the_words_decide(
        self, user: memdb.types.database.User
    ) -> None:
        hit = said("We fail better.", {"lexical": 7.0})
        (found,) = said_evidence(parse_question("Fail better?"), [hit], EVERYWHERE, user).evidence
        assert found.score == 1.0

    def test_a_negative_cosine_is_no_strength(self, user: memdb.types.database.User) -> None:
        hit = said("We fail better.", {"semantic": -0.3})
        (found,) = said_evidence(parse_question("A dog?"), [hit], EVERYWHERE, user).evidence
        assert found.score == 0.0

    def test_an_utterance_counts_once(self, user: memdb.types.database.User) -> None:
        hit = said("Fail better.", {"semantic": 0.5})
        assert (
            len(said_evidence(parse_question("Fail?"), [hit, hit], EVERYWHERE, user).evidence) == 1
        )

    def test_the_moment_is_the_utterance_and_the_clip_is_cited(
        self, user: memdb.types.database.User
    ) -> None:
        hit = said("Fail better.", {"semantic": 0.5}, start_s=3)
        (found,) = said_evidence(parse_question("Fail?"), [hit], EVERYWHERE, user).evidence
        assert (found.start_ns, found.end_ns) == (3 * SECOND_NS, 5 * SECOND_NS)
        assert hit.clip is not None
        assert found.clip_id == hit.clip.id

    def test_what_lies_outside_the_scope_is_left_out(self, user: memdb.types.database.User) -> None:
        hits = [
            said("fail", {"semantic": 0.9}, start_s=1, camera="yard"),
            said("fail", {"semantic": 0.9}, start_s=10, camera="yard"),
            said("fail", {"semantic": 0.9}, start_s=10, camera="porch"),
        ]
        scope = Scope(cameras=("yard",), start_ns=5 * SECOND_NS)
        (found,) = said_evidence(parse_question("Fail?"), hits, scope, user).evidence
        assert (found.camera, found.start_ns) == ("yard", 10 * SECOND_NS)


class TestFacts:
    def fact(self, *evidence: str) -> RecallHit:
        fact = Fact("f1", "alice", "The mug is blue", (), None, 5, None, evidence, 1, 1)
        return RecallHit("fact", 1.0, {"semantic": 0.8}, fact=fact)

    def test_a_fact_stands_at_its_clip(self, user: memdb.types.database.User) -> None:
        with_space = user.stream("yard", space="s")
        ack = with_space.write(Clip(seq=0, start_ns=7, end_ns=9, global_memory=np.ones(4, "f")))
        hits = [self.fact("0" * 32, ack.clip_id)]
        (found,) = said_evidence(parse_question("Mug?"), hits, EVERYWHERE, user).evidence
        assert (found.camera, found.start_ns, found.clip_id) == ("yard", 7, ack.clip_id)
        assert found.said == ("The mug is blue",)

    def test_a_fact_without_a_clip_stands_at_its_validity(
        self, user: memdb.types.database.User
    ) -> None:
        (found,) = said_evidence(parse_question("Mug?"), [self.fact()], EVERYWHERE, user).evidence
        assert (found.arm, found.camera, found.start_ns) == ("fact", "", 5)
        assert not said_evidence(
            parse_question("Mug?"), [self.fact()], Scope(("yard",)), user
        ).evidence

    @pytest.mark.parametrize("start_s", [-1, 0, 1])
    def test_what_has_no_length_is_a_point(
        self, user: memdb.types.database.User, start_s: int
    ) -> None:
        """As for `User.ground` and `User.recall`, which find a clip and an utterance at the very start."""
        fact = self.fact()
        assert fact.fact is not None
        assert fact.fact.valid_to_ns is None
        scope = Scope(start_ns=fact.fact.valid_from_ns + start_s * SECOND_NS)
        found = said_evidence(parse_question("Mug?"), [fact], scope, user).evidence
        assert [item.said for item in found] == ([] if start_s > 0 else [(fact.fact.text,)])

    def test_a_fact_has_the_labels_of_its_clip(self, user: memdb.types.database.User) -> None:
        ack = user.stream("yard", space="s").write(
            Clip(
                seq=0, start_ns=7, end_ns=9, global_memory=np.ones(4, "f"), labels={"zone": "porch"}
            )
        )
        hits = [self.fact(ack.clip_id)]
        porch, roof = (Scope(labels=(("zone", (zone,)),)) for zone in ("porch", "roof"))
        assert said_evidence(parse_question("Mug?"), hits, porch, user).evidence
        assert not said_evidence(parse_question("Mug?"), hits, roof, user).evidence
        assert not said_evidence(parse_question("Mug?"), [self.fact()], porch, user).evidence

    def test_a_fact_stands_at_whichever_clip_is_asked_about(
        self, user: memdb.types.database.User
    ) -> None:
        ids = [
            user.stream(camera, space="s").write(plain(labels={"zone": camera})).clip_id
            for camera in ("yard", "porch")
        ]
        porch: tuple[Scope, ...] = (Scope(("porch",)), Scope(labels=(("zone", ("porch",)),)))
        for scope in porch:
            (found,) = said_evidence(
                parse_question("Mug?"), [self.fact(*ids)], scope, user
            ).evidence
            assert (found.camera, found.clip_id) == ("porch", ids[1])
        assert not said_evidence(
            parse_question("Mug?"), [self.fact(*ids)], Scope(("roof",)), user
        ).evidence

    def test_a_fact_has_the_labels_of_the_moment(self, user: memdb.types.database.User) -> None:
        yard = user.stream("yard", space="s")
        ack = yard.write(plain(sealed=False, labels={"door": "open"}))
        yard.write(plain(labels={"door": "shut"}))
        hits = [self.fact(ack.clip_id)]
        opened, shut = (Scope(labels=(("door", (state,)),)) for state in ("open", "shut"))
        question = parse_question("Mug?")
        assert not said_evidence(question, hits, opened, user).evidence
        assert said_evidence(question, hits, opened, user, ack.revision).evidence
        assert not said_evidence(question, hits, shut, user, ack.revision).evidence

    def test_a_fact_of_a_damaged_clip_is_one_all_the_same(self, tmp_path: Path) -> None:
        with EmbeddedDatabase(tmp_path / "data") as db:
            db.create_space("s", dim=4)
            yard = db.user("alice").stream("yard", space="s")
            ids = [yard.write(plain(seq)).clip_id for seq in range(2)]
            path = db._directory.user_path("alice")
        with (
            lmdb.open(str(path), max_dbs=32, map_size=1 << 30) as env,
            env.begin(write=True, db=env.open_db(b"clips", create=False)) as txn,
        ):
            key, value = next(iter(txn.cursor()))
            txn.put(key, value[:-3] + bytes([value[-3] ^ 8]) + value[-2:])
        with EmbeddedDatabase(tmp_path / "data") as db:
            user = db.user("alice")
            with pytest.raises(DataLoss):
                user.clip(ids[0])
            question = parse_question("Mug?")
            (found,) = said_evidence(question, [self.fact(*ids)], EVERYWHERE, user).evidence
            assert found.clip_id == ids[1]
            (found,) = said_evidence(question, [self.fact(ids[0])], EVERYWHERE, user).evidence
            assert (found.camera, found.said) == ("", ("The mug is blue",))


class TestManyFacts:
    """Facts of the yard that no two clips have in common; their clips are looked up many in a call."""

    @pytest.fixture
    def looked_up(
        self, user: memdb.types.database.User, monkeypatch: pytest.MonkeyPatch
    ) -> list[str]:
        asked: list[str] = []
        get_clips = user.get_clips

        def noted(clip_ids: Sequence[str], **options: Any) -> list[StoredClip]:
            asked.extend(clip_ids)
            self.calls += 1
            return get_clips(clip_ids, **options)

        monkeypatch.setattr(user, "get_clips", noted)
        return asked

    calls = 0

    def facts(self, user: memdb.types.database.User, each: int = 1) -> list[RecallHit]:
        """Ten facts, weaker and weaker but for the last, which is as strong as the third."""
        acks = user.stream("yard", space="s").write_many(plain(seq) for seq in range(10 * each))
        ids = [ack.clip_id for ack in acks]
        hits = []
        for number, cosine in enumerate((0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.7)):
            evidence = tuple(ids[number * each : (number + 1) * each])
            fact = Fact(f"f{number}", "alice", f"mug {number}", (), None, 5, None, evidence, 1, 1)
            hits.append(RecallHit("fact", cosine, {"semantic": cosine}, fact=fact))
        return hits

    def test_none_is_looked_up_that_cannot_be_told(
        self, user: memdb.types.database.User, looked_up: list[str]
    ) -> None:
        hits = self.facts(user)
        question = parse_question("Mug?")
        whole = said_evidence(question, hits, EVERYWHERE, user)
        assert (len(whole.evidence), len(looked_up), self.calls) == (10, 10, 1)
        looked_up.clear()
        few = said_evidence(question, hits, EVERYWHERE, user, limit=3)
        # Both of those that may be the third.
        assert (len(looked_up), few.unplaced) == (4, 0)
        assert fuse(question, [], few.evidence, 3) == fuse(question, [], whole.evidence, 3)
        # Facts that share a clip look it up once.
        looked_up.clear()
        said_evidence(question, [hits[0]] * 5, EVERYWHERE, user)
        assert len(looked_up) == 1

    def test_so_many_and_no_more(
        self,
        user: memdb.types.database.User,
        looked_up: list[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        hits = self.facts(user, each=3)
        monkeypatch.setattr("reasoner.fact_clips.LOOK_UPS_MAX", 7)
        question = parse_question("Mug?")
        # Each is of the yard alone, and is told so by the first of its clips.
        found = said_evidence(question, hits, EVERYWHERE, user)
        assert (len(looked_up), found.unplaced) == (7, 3)
        assert [item.camera for item in found.evidence] == ["yard"] * 7 + [""] * 3
        assert {item.said for item in found.evidence} == {(f"mug {n}",) for n in range(10)}
        # Of the porch there is none, which three look-ups each say of two.
        looked_up.clear()
        found = said_evidence(question, hits, Scope(("porch",)), user)
        assert (found.evidence, len(looked_up), found.unplaced) == ((), 7, 8)

    def test_those_that_are_gone_are_passed_over(
        self, user: memdb.types.database.User, looked_up: list[str]
    ) -> None:
        hits = self.facts(user, each=2)
        facts = [hit.fact for hit in hits if hit.fact is not None]
        gone = [fact.evidence[0] for fact in (facts[0], *facts[2:4])]
        user.erase_clips(gone)
        found = said_evidence(parse_question("Mug?"), hits, EVERYWHERE, user)
        # Each that is gone costs a call; of the first fact's other clip all that is left is looked up again.
        assert self.calls == 3 + 1 + 2
        assert [item.clip_id for item in found.evidence if item.said == ("mug 3",)] == [
            facts[3].evidence[1]
        ]
        assert all(item.camera == "yard" for item in found.evidence)

    def test_so_long_and_no_longer(self, user: memdb.types.database.User) -> None:
        ids = [fact.fact.evidence[0] for fact in self.facts(user) if fact.fact is not None]
        clock = iter([100.0, 104.9, 105.0])
        clips = FactClips(user, None, clock_s=lambda: next(clock))
        assert clips.find(ids[0]) is not None
        assert clips.find(ids[1]) is not None
        with pytest.raises(OutOfLookUps):
            clips.find(ids[2])
        # What is known is known.
        assert clips.find(ids[1]) is not None


def test_a_grounded_clip_brings_its_labels_and_what_was_said() -> None:
    (found,) = seen_evidence([Hit(clip(0, (Utterance(1, 2, "good boy"),)), 0.5)])
    assert found.labels == ("dog", "lawn", "bark")
    assert found.said == ("good boy",)
    assert found.line() == (
        'yard 1970-01-01 00:00:00.0–00:00:08.0 seen 0.50; labels: dog, lawn, bark; said: "good boy"'
    )


def test_labels_are_named_once() -> None:
    assert labels_of(clip()) == ("dog", "lawn", "bark")
