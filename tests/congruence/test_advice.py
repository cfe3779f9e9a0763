"""What newcomers do wrong is answered with what to do, alike on every way."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest

from memdb import MemdbError, Statement
from tests.congruence.media import SECOND_NS, T0_NS, clip, vector

pytestmark = pytest.mark.congruence


class Tensor:
    """Of torch, as far as we look at one."""


MISTAKES: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "space": (lambda db, user: db.space("clip-l14"), "db.create_space makes one"),
    "text": (lambda db, user: user.facts(limit="5"), "from 1 to 1000, not str"),
    "ages": (lambda db, user: user.snapshot("a", ttl_s=timedelta(1)), "to 2592000, not timedelta"),
    "one row": (lambda db, user: user.ground_many(vector(1)), "(rows, dim), also of one row"),
    "rows": (lambda db, user: user.ground(np.ones((2, 4), np.float32)), "(dim,), one vector"),
    "dim": (lambda db, user: db.create_space("x", dim="768"), "an integer from 1 to 8192"),
    "metric": (lambda db, user: db.create_space("x", dim=4, metric="l2"), "one of cosine, dot"),
    "e-mail": (lambda db, user: db.user("ann@x.org"), "1 to 63 of A-Z a-z 0-9 _ . -"),
    "user": (lambda db, user: db.user("bob").ground(vector(1)), "the first write makes one"),
    "stream": (lambda db, user: user.stream("n").write(clip(0)), "name its space to create it"),
    "list": (lambda db, user: user.stream("door").write([clip(0)]), "write_many takes several"),
    "dict": (lambda db, user: user.stream("door").write({"seq": 0}), "expected a Clip"),
    "number": (
        lambda db, user: user.stream("door").write(clip(0, labels={"other": "x"})),
        "next_seq is free",
    ),
    "float64": (lambda db, user: user.ground(np.ones(4)), ".astype(numpy.float32)"),
    "words": (lambda db, user: user.ground("where is it?"), "text=..."),
    "dims": (lambda db, user: user.ground(np.ones(3, np.float32)), "expected dim 4"),
    "no question": (lambda db, user: user.ground(), "a feature, a text, or both"),
    "streams": (lambda db, user: user.ground(vector(1), streams="door"), "a list, also of one"),
    "kinds": (lambda db, user: user.recall("mug", kinds="fact"), "a list, also of one"),
    "about": (lambda db, user: user.remember("mug", about="Bob"), "a list, also of one"),
    "label": (lambda db, user: user.clips(labels={"zone": None}), "memdb.Not"),
    "value": (lambda db, user: user.count_clips(labels={"n": 3}), "a text, a list of texts"),
    "hours": (lambda db, user: user.clips(hours=("22:00", "06:00")), '("22:00", "06:00")'),
    "weekday": (lambda db, user: user.clips(weekdays=["friday"]), "mon, tue, wed"),
    "zone": (lambda db, user: user.clips(zone="Berlin", weekdays=[1]), "Europe/Berlin"),
    "hour": (lambda db, user: user.clips(hours=[("9:00", "17:00")]), '("09:00")'),
    "now": (lambda db, user: user.clips(start_ns=datetime(2026, 1, 1)), "datetime.now(UTC)"),  # noqa: DTZ001
    "naive": (lambda db, user: user.clips(start_ns=datetime(2026, 1, 1)), "aware"),  # noqa: DTZ001
    "seconds": (lambda db, user: user.clips(end_ns=1_767_614_400.5), "integer nanoseconds"),
    "floats": (lambda db, user: user.clips(end_ns=1_767_614_400.5), "time.time_ns()"),
    "iso": (lambda db, user: user.clips(as_of="2026-01-05T09:00:00Z"), "an aware datetime"),
    "nanoseconds": (lambda db, user: user.clips(as_of=T0_NS), "an aware datetime"),
    "numpy": (lambda db, user: user.put("x", np.float32(1)), ".tolist()"),
    "nan": (lambda db, user: user.put("x", float("nan")), "finite numbers"),
    "moment": (lambda db, user: user.clips(as_of="yesterday"), "an aware datetime"),
    "revision": (lambda db, user: user.clips(as_of=99), "revisions are 0 to 1"),
    "limit": (lambda db, user: user.facts(limit=10**6), "from 1 to 1000"),
    "policy": (lambda db, user: user.ground(vector(1), policy="best"), "one of top, ixc-live"),
    "tokens": (lambda db, user: user.ground(vector(1), rerank=9), "needs question_tokens"),
    "key": (lambda db, user: user.history("parcel"), "not by its key"),
    "feature": (lambda db, user: user.remember("x", feature=vector(1)), "configure(text_space"),
    "text feature": (
        lambda db, user: user.ground(text="x", text_feature=vector(1)),
        "configure(text_space",
    ),
    "recall": (lambda db, user: user.recall("x", feature=vector(1)), "configure(text_space"),
    "ack": (
        lambda db, user: user.remember("x", evidence=[user.stream("door").write(clip(1))]),
        "the `clip_id` of an Ack",
    ),
    "erase": (lambda db, user: user.erase_clips(), "stream.erase()"),
    "tensor": (lambda db, user: user.ground(Tensor()), ".detach().cpu().numpy()"),
    "handle": (
        lambda db, user: user.ground(vector(1), streams=[user.stream("door")]),
        "(Stream.name)",
    ),
    "thinned": (
        lambda db, user: user.short_memory([stored.id for stored in user.clips()]),
        "retention gave it up",
    ),
    "asked too early": (
        lambda db, user: db.user("bob").standing.create(vector(1), min_score=0.5),
        "a question that names its space",
    ),
    "until when": (lambda db, user: user.remember("x", valid_to=T0_NS), "unless valid_from says"),
    "until when, of several": (
        lambda db, user: user.remember_many([Statement("x", valid_to=T0_NS)]),
        "unless valid_from says",
    ),
    "end": (lambda db, user: user.revise("x", valid_to="2030"), "integer nanoseconds"),
    "moment of facts": (lambda db, user: user.facts(valid_at="2024-01-01"), "or one of now, any"),
    "moment of a recall": (lambda db, user: user.recall("x", valid_at="today"), "aware datetime"),
    "tokens of many": (
        lambda db, user: user.ground_many(
            [vector(1)], question_tokens=[[vector(1)]], rerank=1, policy="tokens"
        ),
        "by `ground`, one question at a time",
    ),
    "tokens of a stream": (
        lambda db, user: list(user.ground_stream([vector(1)], policy="tokens")),
        "by `ground`, one question at a time",
    ),
    "cited too early": (
        lambda db, user: db.user("bob").remember("x", evidence=["0" * 32]),
        "no such user yet",
    ),
    "bar": (lambda db, user: user.standing.create(vector(1)), "what a clip must score"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_the_error_says_what_to_do(db: Any, name: str) -> None:
    user = db.user("alice")
    user.stream("door", space="clip").write(clip(0, start_ns=T0_NS, end_ns=T0_NS + SECOND_NS))
    call, advice = MISTAKES[name]
    with pytest.raises(MemdbError) as refused:
        call(db, user)
    assert advice in refused.value.message
    assert refused.value.field is not None
