"""Answers to many questions on the wire."""

from __future__ import annotations

import numpy as np
import pytest

from memdb import DataLoss, Gap, Grounding, Hit, InvalidArgument, StoredClip
from memdb.types.arrays import as_vector
from memdb.v1 import grounding_service_pb2 as pb
from memdb.wire.arrays import matrix_to_proto, vector_to_proto
from memdb.wire.groundings import (
    ground_many_arguments,
    ground_many_request,
    groundings_from_proto,
    groundings_to_proto,
    options_from_proto,
)


def stored(seq: int) -> StoredClip:
    return StoredClip(
        seq=seq,
        epoch=0,
        start_ns=seq,
        end_ns=seq + 1,
        global_memory=as_vector(np.ones(4, np.float16), "v"),
        short_memory=None,
        sealed=True,
        id=f"{seq:032}",
        user="alice",
        stream="door",
        space="clip",
        revision=3,
    )


GAP = Gap("door", 0, 3, 4)
DAMAGED = Gap("door", 0, 1, 1, reason="damaged")


@pytest.mark.parametrize("own", [(), (DAMAGED,)])
def test_each_clip_is_sent_once(own: tuple[Gap, ...]) -> None:
    clips = [stored(seq) for seq in range(3)]
    answers = [
        Grounding(
            tuple(Hit(clips[place], 0.5 - place) for place in places), 7, "none", (GAP, *gaps)
        )
        for places, gaps in (((0, 1), ()), ((1, 2, 0), own), ((), ()))
    ]

    message = groundings_to_proto(answers)

    assert len(message.clips) == 3
    assert list(message.hit_clips) == [0, 1, 1, 2, 0]
    assert not any(hit.HasField("clip") for answer in message.answers for hit in answer.hits)
    read = groundings_from_proto(pb.GroundManyResponse.FromString(message.SerializeToString()))
    assert [one.gaps for one in read] == [one.gaps for one in answers]
    assert [[(hit.clip.id, hit.score) for hit in one.hits] for one in read] == [
        [(hit.clip.id, hit.score) for hit in one.hits] for one in answers
    ]
    assert read[0].hits[1].clip is read[1].hits[0].clip


@pytest.mark.parametrize("places", [[], [0], [0, 9]])
def test_an_answer_that_names_clips_it_has_not_is_damage(places: list[int]) -> None:
    message = groundings_to_proto([Grounding((Hit(stored(0), 1.0), Hit(stored(1), 0.5)), 7)])
    del message.hit_clips[:]
    message.hit_clips.extend(places)

    with pytest.raises(DataLoss) as caught:
        groundings_from_proto(message)
    assert caught.value.reason == "BAD_MESSAGE"


def test_options_of_one_question_are_refused() -> None:
    vector = vector_to_proto(np.ones(4, np.float32))
    tokens = matrix_to_proto(np.ones((2, 4), np.float32))
    for options, field in (
        (pb.GroundRequest(user="alice"), "options.user"),
        (pb.GroundRequest(question_feature=vector), "options.question_feature"),
        (pb.GroundRequest(question_tokens=tokens), "options.question_tokens"),
        (pb.GroundRequest(rerank=3), "options.rerank"),
    ):
        with pytest.raises(InvalidArgument) as caught:
            options_from_proto(options)
        assert (caught.value.reason, caught.value.field) == ("NOT_SHARED", field)


def test_a_request_comes_back() -> None:
    features = np.arange(8, dtype=np.float32).reshape(2, 4)
    request = ground_many_request("alice", features, limit=9, streams=["door"], min_score=0.5)

    sent, options = ground_many_arguments(
        pb.GroundManyRequest.FromString(request.SerializeToString())
    )

    assert request.user == "alice"
    assert np.array_equal(sent, features)
    assert (options["limit"], options["streams"], options["min_score"]) == (9, ["door"], 0.5)
