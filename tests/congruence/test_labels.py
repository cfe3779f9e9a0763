"""Which labels there are: counted as somebody would who lists all clips."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from memdb import Clip, InvalidArgument, LabelCount, MemdbError
from memdb.types.database import Database, Stream, User
from tests.congruence.media import T0_NS, clip, vector

pytestmark = pytest.mark.congruence

SECOND_NS = 10**9


def seen(seq: int, labels: dict[str, str], **fields: Any) -> Clip:
    return clip(seq, vector(1), labels=labels, **fields)


def listed(user: User, key: str | None = None, **options: Any) -> list[LabelCount]:
    counts = Counter(
        label for one in user.clips(limit=1000, **options) for label in one.labels.items()
    )
    return [
        LabelCount(*label, count)
        for label, count in sorted(counts.items())
        if key is None or label[0] == key
    ]


def random_labels(random: np.random.Generator) -> dict[str, str]:
    values = {
        "zone": ("porch", "drive", "\u00e9", ""),
        "light": ("day", "night"),
        "n": "0123456789",
    }
    return {
        key: str(random.choice(list(some))) for key, some in values.items() if random.random() < 0.6
    }


def test_labels_of_a_clip_come_by_key(user: User, door: Stream) -> None:
    keys = [f"k{number}" for number in (3, 1, 9, 0, 7, 2, 8, 5, 4, 6)]
    door.write(seen(0, dict.fromkeys(keys, "v")))
    (listed_clip,) = user.clips()
    (hit,) = user.ground(vector(1)).hits
    for one in (listed_clip, hit.clip, user.clip(hit.clip.id)):
        assert list(one.labels) == sorted(keys)


def test_labels_are_those_of_all_clips(db: Database, user: User, door: Stream) -> None:
    db.create_space("other", dim=6)
    random = np.random.default_rng(7)
    yard = user.stream("yard", space="other")
    moments = []
    for seq in range(40):
        # Each grows once, and has other labels then.
        door.write(seen(seq, random_labels(random), sealed=False))
        if seq % 3:
            door.write(seen(seq, random_labels(random)))
        if seq % 4 == 0:
            feature = np.ones(6, np.float32)
            fields: dict[str, Any] = {
                "start_ns": T0_NS + seq * SECOND_NS,
                "end_ns": T0_NS + (seq + 1) * SECOND_NS,
            }
            labels = random_labels(random)
            ack = yard.write(Clip(seq=seq, global_memory=feature, labels=labels, **fields))
            moments.append(ack.revision)
    user.erase_clips([one.id for one in user.clips(stream="door")[5:15]])
    ends = [one.end_ns for one in user.clips(stream="door")]
    asked: list[dict[str, Any]] = [{}, {"stream": "door"}, {"stream": "yard"}]
    asked += [{"as_of": moment} for moment in moments[::3]]
    asked += [
        {"start_ns": ends[4], "end_ns": ends[9]},
        {"stream": "door", "end_ns": ends[3], "as_of": moments[-1]},
    ]
    for options in asked:
        for key in (None, "zone", "mug"):
            found = user.labels(key=key, **options)
            assert found == listed(user, key, **options)
            pages: list[LabelCount] = []
            page = user.labels(key=key, limit=3, **options)
            while page:
                pages += page
                after = page[-1].key, page[-1].value
                page = user.labels(key=key, limit=3, after=after, **options)
            assert pages == found
    assert user.labels(after=("zone", "\U0010ffff")) == []


def test_what_is_gone_has_no_label(user: User, door: Stream) -> None:
    door.write(seen(0, {"zone": "porch"}))
    before = user.revision()
    assert user.labels() == [LabelCount("zone", "porch", 1)]
    (one,) = user.clips()
    user.erase_clips([one.id])
    assert user.labels() == []
    assert user.labels(as_of=before) == []


@pytest.mark.parametrize(
    ("options", "reason", "field"),
    [
        ({"key": ""}, "EMPTY", "key"),
        ({"key": 5}, "BAD_TEXT", "key"),
        ({"key": "k" * 65}, "TOO_LARGE", "key"),
        ({"after": "zone"}, "BAD_TYPE", "after"),
        ({"after": ("zone",)}, "BAD_TYPE", "after"),
        ({"after": ("", "porch")}, "EMPTY", "after"),
        ({"after": ("zone", "x" * 1025)}, "TOO_LARGE", "after"),
        ({"limit": 0}, "OUT_OF_RANGE", "limit"),
        ({"limit": 1001}, "OUT_OF_RANGE", "limit"),
        ({"start_ns": 5, "end_ns": 4}, "TIME_RANGE", "end_ns"),
        ({"stream": "nowhere"}, "STREAM_NOT_FOUND", "stream"),
        ({"as_of": 10**6}, "REVISION_NOT_FOUND", "as_of"),
    ],
)
def test_bad_input(
    user: User, door: Stream, options: dict[str, Any], reason: str, field: str
) -> None:
    door.write(seen(0, {"zone": "porch"}))
    with pytest.raises(MemdbError) as refused:
        user.labels(**options)
    assert (refused.value.reason, refused.value.field) == (reason, field)
    assert isinstance(refused.value, InvalidArgument) or field in ("stream", "as_of")
