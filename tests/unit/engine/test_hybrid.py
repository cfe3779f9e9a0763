"""Grounding with words against arms computed one by one, at every revision, also after a restart."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memdb import Clip, ResourceExhausted, SoundEvent, StoredClip, Utterance
from memdb.clock import ManualClock
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.hydrate import clip_bytes
from memdb.engine.user import EmbeddedUser
from memdb.index import partition as index_partition
from memdb.index.terms import STOP_TERMS, asked_terms, terms
from memdb.types.arm import ARM_WEIGHTS
from memdb.types.arrays import Array
from tests.unit.engine.conftest import CONFIG, DIM, SECOND_NS, clip, vector
from tests.unit.engine.damaged import change, flipped_value

VOCABULARY = ("red", "cars", "dog", "barking", "the", "parcel", "porch", "is", "blue", "mug")
SOUNDS = ("Dog bark", "Car passing", "Parcel falling", "Speech")
FEATURES: dict[int, Array | None] = {}
"""Of the utterances of each version, which reading a clip does not give back."""
QUESTIONS = ("a red car", "is the dog barking?", "the", "blue parcels on the porch", "unheard")


def wordy(seq: int, rng: np.random.Generator, **changes: object) -> Clip:
    """A clip with some of everything that words can find."""
    start_ns = seq * 10 * SECOND_NS
    said = tuple(
        Utterance(
            start_ns + n, start_ns + n + 1, " ".join(rng.choice(VOCABULARY, 5)), speaker="Bob"
        )
        for n in range(rng.integers(3))
    )
    features = rng.standard_normal((len(said), DIM)).astype(np.float32) if said else None
    fields: dict[str, object] = {
        "global_memory": rng.standard_normal(DIM).astype(np.float32),
        "transcript": said,
        "transcript_features": features,
        "events": tuple(
            SoundEvent(start_ns, start_ns + 5, str(name), 0.5)
            for name in rng.choice(SOUNDS, rng.integers(3))
        ),
        "labels": {"seen": " ".join(rng.choice(VOCABULARY, 2))} if rng.random() < 0.5 else {},
    }
    return clip(seq, **(fields | changes))


def filled(db: EmbeddedDatabase, clips: int = 40) -> EmbeddedUser:
    """Two streams; each third clip has an open version before its last."""
    rng = np.random.default_rng(5)
    user = db.user("alice")
    FEATURES.clear()
    user.stream("door", space="cam").write(wordy(0, rng, transcript_features=None))
    user.configure(text_space="cam")
    for seq in range(1, clips):
        stream = user.stream("door" if seq % 2 else "yard", space="cam")
        for sealed in (False, True)[seq % 3 != 0 :]:
            version = wordy(seq, rng, sealed=sealed)
            FEATURES[stream.write(version).revision] = version.transcript_features
    user.remember("the red car is a fact and no clip")
    return user


# --- the same, one by one


@dataclass
class Found:
    """Clips by their scores."""

    weight: float
    scaled: dict[str, float]


def expected(
    user: EmbeddedUser,
    text: str,
    admits: Callable[[StoredClip], bool],
    as_of: int,
    feature: Array | None,
    text_feature: Array | None,
) -> dict[str, float]:
    """Score of every clip that is found."""
    alive = user.clips(as_of=as_of)
    admitted = [one for one in alive if admits(one)]
    arms: dict[str, Found] = {}
    if feature is not None:
        vectors = {one.id: cosine(one.global_memory, feature) for one in admitted}
        arms["vector"] = Found(ARM_WEIGHTS["vector"], scaled_similarities(vectors))
    texts: dict[str, Callable[[StoredClip], Sequence[str]]] = {
        "transcript": lambda one: [f"Bob {said.text}" for said in one.transcript],
        "events": lambda one: [" ".join(event.label for event in one.events)],
        "labels": lambda one: [" ".join(f"{k} {v}" for k, v in sorted(one.labels.items()))],
    }
    for name, texts_of in texts.items():
        arms[name] = by_words(text, alive, admitted, texts_of, ARM_WEIGHTS[name])
    if text_feature is not None:
        likeness = {
            one.id: max(max(cosine(row, text_feature) for row in rows), 0.0)
            for one in admitted
            if (rows := FEATURES.get(one.revision)) is not None
        }
        arms["transcript_features"] = Found(
            ARM_WEIGHTS["transcript_features"], {key: s for key, s in likeness.items() if s > 0.0}
        )
    total = sum(arm.weight for arm in arms.values())
    scores: dict[str, float] = {}
    for arm in arms.values():
        for clip_id, score in arm.scaled.items():
            scores[clip_id] = scores.get(clip_id, 0.0) + score * arm.weight / total
    return scores


def cosine(a: Array, b: Array) -> float:
    a, b = a.astype(np.float64), b.astype(np.float64)
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def scaled_similarities(raw: dict[str, float]) -> dict[str, float]:
    """Fewer than the floor's place: from the least to the best."""
    if not raw:
        return {}
    least, most = min(raw.values()), max(raw.values())
    return {key: 1.0 if most == least else (v - least) / (most - least) for key, v in raw.items()}


def by_words(
    text: str,
    alive: Sequence[StoredClip],
    admitted: Sequence[StoredClip],
    texts_of: Callable[[StoredClip], Sequence[str]],
    weight: float,
) -> Found:
    documents = [terms(one) for each in alive for one in texts_of(each)]
    lengths = [sum(t not in STOP_TERMS for t in one) for one in documents]
    mean = (sum(lengths) / len(lengths) if lengths else 0.0) or 1.0
    worth: dict[str, float] = {}
    for term in asked_terms(text):
        having = sum(term in one for one in documents)
        worth[term] = math.log(1 + (len(documents) - having + 0.5) / (having + 0.5))
    raw: dict[str, float] = {}
    for each in admitted:
        for said in texts_of(each):
            split = terms(said)
            length = sum(t not in STOP_TERMS for t in split)
            score = sum(
                idf * times * 1.9 / (times + 0.9 * (0.6 + 0.4 * length / mean))
                for term, idf in worth.items()
                if (times := split.count(term))
            )
            if score > 0:
                raw[each.id] = max(raw.get(each.id, 0.0), score)
    best = max(max(raw.values(), default=0.0), 0.2 * sum(worth.values()) * 1.9)
    return Found(weight, {key: score / best for key, score in raw.items()})


NO_VECTOR: dict[str, Any] = {"weights": {"vector": 0.0}}
FILTERS: dict[str, tuple[dict[str, Any], Callable[[StoredClip], bool]]] = {
    "all": ({}, lambda one: True),
    "stream": ({"streams": ["yard"]}, lambda one: one.stream == "yard"),
    "time": (
        {"start_ns": 100 * SECOND_NS, "end_ns": 260 * SECOND_NS},
        lambda one: one.end_ns > 100 * SECOND_NS and one.start_ns < 260 * SECOND_NS,
    ),
}


def agrees(user: EmbeddedUser, text: str, which: str, as_of: int, kind: str) -> None:
    options, admits = FILTERS[which]
    feature = vector(77) if kind == "both" else None
    told = vector(78) if kind != "words" else None
    truth = expected(user, text, admits, as_of, feature, told)
    if told is not None:
        # Without another, the text's feature is compared with the clips, which are of its space.
        options = {**options, "text_feature": told, **({} if kind == "both" else NO_VECTOR)}
    found = user.ground(feature, text=text, limit=1000, as_of=as_of, explain=True, **options)
    scores = {hit.clip.id: hit.score for hit in found.hits}
    assert scores == pytest.approx(truth, abs=1e-5)
    assert list(scores.values()) == sorted(scores.values(), reverse=True)
    for hit in found.hits:
        assert sum(arm.weight * arm.score for arm in hit.arms) == pytest.approx(hit.score)
    few = user.ground(feature, text=text, limit=3, as_of=as_of, **options)
    assert [(h.clip.id, h.score) for h in few.hits] == list(scores.items())[:3]


@pytest.mark.parametrize("kind", ["words", "told", "both"])
@pytest.mark.parametrize("which", FILTERS)
def test_every_arm_is_filtered_within_the_search(
    db: EmbeddedDatabase, which: str, kind: str
) -> None:
    user = filled(db)
    for as_of in (5, 17, user.revision() - 1, user.revision()):
        for text in QUESTIONS:
            agrees(user, text, which, as_of, kind)


def answers(user: EmbeddedUser) -> list[object]:
    return [
        (hit.clip.id, hit.score, hit.arms)
        for text in QUESTIONS
        for as_of in (5, 23, None)
        for hit in user.ground(
            vector(77), text=text, text_feature=vector(78), limit=9, as_of=as_of, explain=True
        ).hits
    ]


def test_a_restart_changes_no_answer(folder: Path, clock: ManualClock) -> None:
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        db.create_space("cam", dim=DIM)
        before = answers(filled(db))
        assert db.verify().ok
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        assert answers(db.user("alice")) == before


def test_what_is_given_up_takes_its_words_along(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_partition, "REMOVED_ROWS_MAX", 4)
    user = db.user("alice")
    door = user.stream("door", space="cam")
    for seq in range(40):
        heard = (SoundEvent(seq * 10 * SECOND_NS, (seq * 10 + 1) * SECOND_NS, f"sound{seq}", 1.0),)
        door.write(clip(seq, events=heard, labels={"kept": "yes" if seq >= 30 else "no"}))
    user.ground(text="sound1")  # the words are counted now
    user.erase_clips([one.id for one in user.clips() if one.seq < 30])
    with user.memory() as memory:
        (partition,) = memory.view.partitions.values()
        known, lengths = partition.names.events.known(partition.rows)
        assert sorted(known) == sorted(f"sound{seq}" for seq in range(30, 40))
        assert len(lengths) == partition.rows == 10
    assert [hit.clip.seq for hit in user.ground(text="sound35").hits] == [35]
    assert [one.seq for one in user.clips(labels={"kept": "yes"})] == list(range(30, 40))
    assert user.clips(labels={"kept": "no"}) == []
    door.write(clip(40, labels={"kept": "later"}))
    assert [one.seq for one in user.clips(labels={"kept": "later"})] == [40]
    assert [hit.clip.seq for hit in user.ground(text="later").hits] == [40]
    assert len(user.ground(text="yes", limit=100).hits) == 10
    assert db.verify().ok


def test_verify_tells_words_that_the_store_has_not(db: EmbeddedDatabase) -> None:
    user = filled(db)
    with user.memory() as memory:
        (partition,) = memory.view.partitions.values()
        partition.names.labels.known(partition.rows)
        partition.names.labels._lengths.set("length", 3, 99)
    assert [one.what for one in db.verify().discrepancies] == [
        "words of labels differ from the store"
    ]


def test_verify_tells_labels_that_the_store_has_not(db: EmbeddedDatabase) -> None:
    user = filled(db)
    with user.memory() as memory:
        (partition,) = memory.view.partitions.values()
        partition.names.labelled.rows(partition.rows)
        partition.names.labelled._having["zone"]["roof"].append(3)
    assert [one.what for one in db.verify().discrepancies] == ["labels differ from the store"]


def test_a_damaged_clip_that_words_find_is_told_and_costs_no_other(
    folder: Path, clock: ManualClock
) -> None:
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        db.create_space("cam", dim=DIM)
        door = db.user("alice").stream("door", space="cam")
        door.write_many([clip(seq, labels={"seen": "a red car"}) for seq in range(4)])
        path = db._directory.user_path("alice")
    change(path, "clips", 2, flipped_value)
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        found = db.user("alice").ground(text="cars", explain=True)
        assert sorted(hit.clip.seq for hit in found.hits) == [0, 1, 3]
        assert [(gap.first_seq, gap.reason) for gap in found.gaps] == [(2, "damaged")]


def test_an_explanation_counts_as_part_of_the_answer(db: EmbeddedDatabase) -> None:
    user = db.user("alice")
    text = " ".join(f"word{number}" for number in range(100))
    user.stream("door", space="cam").write(clip(0, transcript=(Utterance(0, 1, text),)))
    (hit,) = user.ground(text=text).hits
    room = clip_bytes(hit.clip) + 100
    assert user.ground(text=text, answer_bytes_max=room).hits
    with pytest.raises(ResourceExhausted) as caught:
        user.ground(text=text, answer_bytes_max=room, explain=True)
    assert caught.value.reason == "MESSAGE_TOO_LARGE"


def test_words_of_several_at_once(db: EmbeddedDatabase) -> None:
    """Stemmers are not to be shared by threads; each question is of another one."""
    user = filled(db)
    truth = answers(user)
    with ThreadPoolExecutor(4) as pool:
        assert all(one == truth for one in pool.map(lambda _: answers(user), range(8)))


def test_a_text_space_that_comes_later_changes_no_earlier_answer(db: EmbeddedDatabase) -> None:
    user = db.user("bob")
    said = (Utterance(0, 1, "the door is open"),)
    ack = user.stream("door", space="cam").write(
        clip(0, global_memory=vector(3), transcript=said, labels={"seen": "door"})
    )
    before = user.ground(text="door", as_of=ack.revision, explain=True)
    user.configure(text_space="cam")
    # A feature of the text, which an encoder would make of itself now, has nothing to be compared with then.
    after = user.ground(text="door", text_feature=vector(3), as_of=ack.revision, explain=True)
    assert [(hit.score, hit.arms) for hit in after.hits] == [
        (hit.score, hit.arms) for hit in before.hits
    ]
    now = user.ground(text="door", text_feature=vector(3), explain=True)
    assert "vector" in {arm.name for arm in now.hits[0].arms}


def test_a_text_without_a_direction_is_asked_by_its_words(db: EmbeddedDatabase) -> None:
    user = filled(db)
    user_has = user.ground(text="barking dog", text_feature=np.zeros(DIM, np.float32))
    assert user_has.hits


def test_scores_that_overflow_keep_their_place_beside_words(tmp_path: Path) -> None:
    with EmbeddedDatabase(tmp_path / "dot", config=CONFIG) as db:
        db.create_space("dot", dim=DIM, metric="dot")
        camera = db.user("u").stream("cam", space="dot")
        for seq in range(5):
            level = np.float32(1e30 if seq == 3 else 10.0**seq)
            labels = {"seen": "door"} if seq == 1 else {}
            camera.write(clip(seq, global_memory=np.full(DIM, level), labels=labels))
        question = np.full(DIM, 1e30, np.float32)
        answer = db.user("u").ground(question, text="door", limit=10)
        assert sorted(hit.clip.seq for hit in answer.hits)[:1] == [0]
        assert all(math.isfinite(hit.score) for hit in answer.hits)
        assert 3 in {hit.clip.seq for hit in answer.hits[:2]}
