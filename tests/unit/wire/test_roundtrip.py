"""Every value survives the wire."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from memdb.codecs.tensors import encode_tensor
from memdb.types.arm import Arm, ArmMatch
from memdb.types.arrays import Array
from memdb.types.change import Change, Discrepancy, ErasureReport, Verification
from memdb.types.clip import NO_GLOBAL_MEMORY, Ack, Clip, Utterance
from memdb.types.coverage import StreamCoverage
from memdb.types.fact import Fact, LongTermMemory, MemorySpan, Recall, RecallHit
from memdb.types.grounding import Grounding, Hit, Span
from memdb.types.snapshot import Snapshot
from memdb.types.space import Space
from memdb.types.stream import Gap, Ledger, StreamInfo
from memdb.types.tensor import EncodedTensor
from memdb.v1 import clip_service_pb2 as clip_pb
from memdb.wire import clips, facts, grounding, spaces, streams, users
from tests.unit.wire.values import BARE_FACT, FACT, ID, content, over_the_wire, same, stored


def test_clip_keeps_every_field_and_its_tensor_stays_coded() -> None:
    tokens = np.arange(24, dtype=np.float32).reshape(3, 8)
    clip = Clip(**content(short_memory=tokens))
    back = clips.clip_from_proto(over_the_wire(clips.clip_to_proto(clip)))
    assert isinstance(back.short_memory, EncodedTensor)
    assert back.short_memory == encode_tensor(tokens)
    for item in fields(Clip):
        if item.name != "short_memory":
            assert same(getattr(back, item.name), getattr(clip, item.name)), item.name


@pytest.mark.parametrize("short_memory", [None, np.ones((2, 8), np.float16)], ids=["none", "some"])
def test_stored_clip_comes_back_decoded(short_memory: Array | None) -> None:
    clip = stored(short_memory=short_memory)
    assert same(clips.stored_clip_from_proto(over_the_wire(clips.stored_clip_to_proto(clip))), clip)


def test_a_light_clip_comes_back_with_all_but_its_heavy_parts() -> None:
    light = stored(global_memory=NO_GLOBAL_MEMORY, short_memory=None, keyframes=())
    message = over_the_wire(clips.stored_clip_to_proto(light))
    assert same(clips.stored_clip_from_proto(message, light=True), light)
    answer = Grounding((Hit(light, 0.5, 0.0), Hit(light, 0.25)), 9)
    back = grounding.grounding_from_proto(
        over_the_wire(grounding.grounding_to_proto(answer)), tells=False, light=True
    )
    assert same(back, answer)


def test_smallest_clip() -> None:
    clip = Clip(seq=0, start_ns=0, end_ns=0, global_memory=np.ones(1, np.float32))
    assert same(clips.clip_from_proto(over_the_wire(clips.clip_to_proto(clip))), clip)


@pytest.mark.parametrize("fact", [FACT, BARE_FACT], ids=["full", "bare"])
def test_fact(fact: Fact) -> None:
    assert facts.fact_from_proto(over_the_wire(facts.fact_to_proto(fact))) == fact


ARMS = (
    Arm("transcript", 1.0, 0.75, 1, 7.5, (ArmMatch(-1, 2, 3, ("red", "car")), ArmMatch(5, 6, 0))),
    Arm("vector", 0.5, 0.25, 12, -0.25),
)


def test_grounding() -> None:
    answer = Grounding(
        (
            Hit(stored(), -0.5, 0.25, (Span(1, 2, 0.5),)),
            Hit(stored(), 0.5, arms=ARMS),
            Hit(stored(), 0.0),
        ),
        9,
        "recent",
        (Gap("s", 1, 2, 3, -4, 5), Gap("s", 0, 0, 0)),
        (
            StreamCoverage("s", 7, "Asia/Kolkata", -4, 2**62, 3, ((-(2**62), 1), (5, 6)), 9),
            StreamCoverage("t", 0),
        ),
        True,
    )
    back = grounding.grounding_from_proto(over_the_wire(grounding.grounding_to_proto(answer)))
    assert same(back, answer)


def test_more_missing_than_a_message_can_say() -> None:
    """As of three cameras that left out nearly every number that there is: that there is a great deal, and no error."""
    answer = Grounding((), 9, coverage=(StreamCoverage("s", 0, missing=3 * (2**63 - 1)),))
    back = grounding.grounding_from_proto(over_the_wire(grounding.grounding_to_proto(answer)))
    assert back.coverage[0].missing == 2**64 - 1


def test_recall() -> None:
    answer = Recall(
        (
            RecallHit("fact", 1.0, {"lexical": 2.0}, fact=FACT),
            RecallHit("utterance", 0.5, {}, utterance=Utterance(0, 1, "x"), clip=stored()),
        ),
        3,
        ("lexical", "semantic"),
        -(2**62),
    )
    assert same(facts.recall_from_proto(over_the_wire(facts.recall_to_proto(answer))), answer)


def test_arms_of_a_recall_come_by_name() -> None:
    names = [f"arm{number}" for number in (3, 1, 9, 0, 7, 2, 8, 5, 4, 6)]
    hit = RecallHit("fact", 1.0, dict.fromkeys(names, 1.0), fact=FACT)
    message = over_the_wire(facts.recall_to_proto(Recall((hit,), 3, ("lexical",))))
    assert list(facts.recall_from_proto(message).hits[0].arms) == sorted(names)


@pytest.mark.parametrize("rows", [0, 2])
def test_long_term_memory_may_be_empty(rows: int) -> None:
    memory = LongTermMemory(
        np.ones((rows, 3), np.float32), (MemorySpan("s", "hour", 0, 1, 5),) * rows, "p", 8
    )
    back = facts.long_term_from_proto(over_the_wire(facts.long_term_to_proto(memory)))
    assert same(back, memory)


@pytest.mark.parametrize(
    "change",
    [
        Change(1, 0, 5, "clip", clip=stored()),
        Change(1, 1, 5, "fact", fact=FACT),
        Change(1, 2, 5, "stream", stream=StreamInfo("s", "p", 1, "03" * 16, "Asia/Kolkata")),
        Change(1, 3, 5, "snapshot", snapshot=Snapshot("n", 1, 2, 3, "u")),
        Change(1, 4, 5, "value", key="k"),
    ],
    ids=lambda change: change.kind,
)
def test_change(change: Change) -> None:
    assert same(users.change_from_proto(over_the_wire(users.change_to_proto(change))), change)


def test_plain_values() -> None:
    space = Space("p", 8192, "dot", "m@1")
    assert spaces.space_from_proto(over_the_wire(spaces.space_to_proto(space))) == space
    found = Verification(1, 2, 3, (Discrepancy("u", "t", "w"),))
    assert (
        spaces.verification_from_proto(over_the_wire(spaces.verification_to_proto(found))) == found
    )
    ledger = Ledger("s", 1, 5, 4, None, -1, (Gap("s", 1, 2, 2),))
    assert streams.ledger_from_proto(over_the_wire(streams.ledger_to_proto(ledger))) == ledger
    ack = Ack(ID, 7, True)
    message = clip_pb.ClipAck()
    clips.fill_ack(message, ack)
    assert clips.ack_from_proto(over_the_wire(message)) == ack
    report = ErasureReport("u", 1, 2, 3, 4)
    assert users.erasure_from_proto("u", over_the_wire(users.erasure_to_proto(report))) == report
