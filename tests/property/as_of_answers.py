"""What one user answers as of a moment, to every kind of question, as bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any, Final

import numpy as np

from memdb import FailedPrecondition, MemdbError
from memdb.engine.user import EmbeddedUser
from memdb.types.grounding import AsOf
from memdb.v1 import clip_service_pb2 as clip_pb
from memdb.wire.clips import stored_clip_to_proto
from memdb.wire.facts import fact_to_proto, long_term_to_proto, recall_to_proto
from memdb.wire.grounding import grounding_to_proto
from memdb.wire.groundings import groundings_to_proto
from memdb.wire.snapshots import snapshot_to_proto
from memdb.wire.standing import alert_to_proto, backtest_to_proto, question_to_proto
from memdb.wire.streams import gap_to_proto, stream_to_proto
from memdb.wire.users import change_to_proto

SECOND_NS: Final = 1_000_000_000
T0_NS: Final = 1_700_000_000 * SECOND_NS + 123_457_000  # no whole second: those survive as floats
WORDS: Final = ("red", "mug", "door", "opens", "two", "Alice", "says")
SPACES: Final = {"cos": (6, "cosine"), "dot": (4, "dot"), "text": (3, "cosine")}
STREAMS: Final = {"porch": "cos", "yard": "cos", "mic": "dot"}


def vector(rng: np.random.Generator, dim: int) -> Any:
    """Few directions: equal scores are met."""
    made = rng.integers(-2, 3, dim).astype(np.float32)
    made[0] += 3
    return made


def words(rng: np.random.Generator) -> str:
    return " ".join(rng.choice(WORDS, int(rng.integers(1, 5))))


def answers(user: EmbeddedUser, as_of: AsOf | None, rng: np.random.Generator) -> dict[str, bytes]:
    """By the name of the question; an error by its reason, field and value."""
    asked = _Asked(user, as_of, rng)
    asked.ground()
    asked.recall()
    asked.remember()
    asked.clips()
    asked.labels()
    asked.backtest()
    return asked.found


def past(user: EmbeddedUser, revision: int) -> dict[str, bytes]:
    """What takes no ``as_of`` and tells which commit each part is of: what there was by one."""

    def known(all_of_them: Any, to_proto: Callable[[Any], Any]) -> bytes:
        return _joined(to_proto(one) for one in all_of_them if one.revision <= revision)

    histories = [
        [one for one in user.history(fact.id) if one.revision <= revision] for fact in user.facts()
    ]
    for versions in filter(None, histories):
        if (versions[-1].superseded_revision or 0) > revision:
            versions[-1] = replace(versions[-1], superseded_revision=None)
    return {
        "streams": known(user.streams(), stream_to_proto),
        "standing": known(user.standing.list(), question_to_proto),
        "snapshots": known(user.snapshots(), snapshot_to_proto),
        "changes": known(user.watch(follow=False), change_to_proto),
        "alerts": known(user.standing.watch(follow=False), alert_to_proto),
        "histories": _joined(fact_to_proto(one) for versions in histories for one in versions),
    }


def _joined(messages: Iterable[Any]) -> bytes:
    parts = [
        one if isinstance(one, bytes) else one.SerializeToString(deterministic=True)
        for one in messages
    ]
    return b"".join(len(part).to_bytes(4, "little") + part for part in parts)


class _Asked:
    """The same draws of ``rng`` ask the same."""

    def __init__(self, user: EmbeddedUser, as_of: AsOf | None, rng: np.random.Generator) -> None:
        self.found: dict[str, bytes] = {}
        self._user = user
        self._as_of = as_of
        self._rng = rng
        begin = T0_NS + int(rng.integers(-8, 10)) * 1200 * SECOND_NS
        self._features = {"cos": vector(rng, 6), "dot": vector(rng, 4)}
        self._time = {"start_ns": begin, "end_ns": begin + 4 * 3600 * SECOND_NS}
        self._hours: dict[str, Any] = {"hours": [("22:00", "04:00")], "weekdays": [1, 2]}

    def ground(self) -> None:
        rng, user = self._rng, self._user
        tokens = rng.standard_normal((3, 6)).astype(np.float32)
        cos: dict[str, Any] = {"space": "cos", "with_coverage": True, "limit": 50}
        cos["as_of"] = self._as_of

        def grounded(feature: Any, **options: Any) -> Any:
            return grounding_to_proto(user.ground(feature, **options))

        kinds: dict[str, dict[str, Any]] = {
            "plain": {},
            "whole": {"with_short_memory": True},
            "streams": {"streams": ["porch"]},
            "time": self._time,
            "hours": self._hours,
            "labels": {"labels": {"zone": self._values()}},
            "least": {"min_score": 0.8},
            "relevance": {"min_relevance": 0.001},
            "abstains": {"min_score": 5.0, "fallback": "recent"},
            "re-ranked": {"question_tokens": tokens, "rerank": 5},
            "words": {"text": "red door", "text_feature": vector(rng, 3), "explain": True},
            **{name: {"policy": name} for name in ("ixc-live", "ixc-offline", "ixc-train")},
        }
        feature = self._features["cos"]
        for name, options in kinds.items():
            bare = {key: value for key, value in options.items() if key != "text_feature"}
            first, second = (partial(grounded, feature, **cos | one) for one in (options, bare))
            self._ask(f"ground {name}", first, second)
        dot = partial(grounded, self._features["dot"], space="dot", as_of=self._as_of)
        self._ask("ground dot", dot)
        self._ask(
            "ground words alone", partial(grounded, None, text="mug Alice", explain=True, **cos)
        )
        self._ask(
            "ground tokens", partial(grounded, None, policy="tokens", question_tokens=tokens, **cos)
        )
        many = np.stack([feature, vector(rng, 6)])
        self._ask("ground many", lambda: groundings_to_proto(user.ground_many(many, **cos)))

        def pages(**options: Any) -> bytes:
            found: list[Any] = []
            cursor: str | None = ""
            while cursor is not None and len(found) < 20:
                page = user.ground(feature, **cos | {"limit": 3, "cursor": cursor} | options)
                found.append(grounding_to_proto(page))
                cursor = page.next_cursor
            return _joined(found)

        self._ask("ground pages", pages)
        self._ask("ground pages time", partial(pages, **self._time))

    def recall(self) -> None:
        rng, user, as_of = self._rng, self._user, self._as_of

        def recalled(question: str = "red mug door", **options: Any) -> Any:
            return recall_to_proto(user.recall(question, as_of=as_of, **{"limit": 20} | options))

        self._ask("recall", partial(recalled, "red mug"))
        self._ask(
            "recall feature",
            partial(recalled, "two", limit=5, feature=vector(rng, 3)),
            partial(recalled, "two", limit=5),
        )
        sieves: dict[str, dict[str, Any]] = {
            "streams": {"streams": ["porch", "mic"]},
            "time": self._time,
            "labels": {"labels": {"zone": self._values()}},
            "hours": self._hours,
            "utterances": {"kinds": ["utterance"]},
            "facts": {"kinds": ["fact"], "valid_at": T0_NS + 5 * SECOND_NS},
            "any": {"valid_at": "any"},
            "about": {"about": [str(word) for word in self._rng.choice(WORDS, 2)]},
        }
        for name, sieve in sieves.items():
            self._ask(f"recall {name}", partial(recalled, **sieve))

    def remember(self) -> None:
        """What there is above single clips: facts, values, means."""
        user, as_of = self._user, self._as_of

        def remembered(space: str, most: int, stream: str | None) -> Any:
            found = user.long_term(space=space, stream=stream, as_of=as_of, max_tokens=most)
            return long_term_to_proto(found)

        for space, stream in (("cos", None), ("dot", None), ("cos", "yard")):
            for most in (2, 100):
                asked = partial(remembered, space, most, stream)
                self._ask(f"long term {space} {stream} {most}", asked)

        def facts(limit: int, **options: Any) -> bytes:
            found: list[Any] = []
            page = user.facts(as_of=as_of, limit=limit, **options)
            while page:
                found += [*map(fact_to_proto, page), b"|"]
                page = user.facts(as_of=as_of, limit=limit, after=page[-1].id, **options)
            return _joined(found)

        lists: dict[str, dict[str, Any]] = {
            "all": {},
            "about": {"about": str(self._rng.choice(WORDS))},
            "valid": {"valid_at": T0_NS + int(self._rng.integers(0, 30)) * SECOND_NS},
        }
        for name, options in lists.items():
            for limit in (2, 1000):
                self._ask(f"facts {name} {limit}", partial(facts, limit, **options))

        def by_id() -> bytes:
            shown = user.facts(as_of=as_of)
            return _joined(fact_to_proto(user.fact(one.id, as_of=as_of)) for one in shown)

        self._ask("facts by id", by_id)

        def value(key: str) -> bytes:
            return repr(user.get(key, as_of=as_of)).encode()

        for key in ("diet", "name"):
            self._ask(f"value {key}", partial(value, key))

        def keys(limit: int, after: str | None) -> bytes:
            return repr(user.keys(as_of=as_of, limit=limit, after=after)).encode()

        for limit, after in ((1000, None), (1, None), (1, "diet")):
            self._ask(f"keys {limit} {after}", partial(keys, limit, after))

    def clips(self) -> None:
        user, as_of = self._user, self._as_of
        self._ask(
            "clips",
            lambda: clip_pb.ListClipsResponse(
                clips=[
                    stored_clip_to_proto(user.clip(one.id, as_of=as_of, with_short_memory=True))
                    for one in user.clips(as_of=as_of)
                ]
            ),
        )

        def pages(*, by_id: bool, **options: Any) -> bytes:
            found: list[Any] = []
            page = user.clips(as_of=as_of, **options)
            while page:
                found += [*map(stored_clip_to_proto, page), b"|"]
                after = page[-1].id if by_id else page[-1].cursor
                page = user.clips(as_of=as_of, after=after, **options)
            return _joined(found)

        kinds: dict[str, dict[str, Any]] = {
            "all": {},
            "newest": {"newest_first": True},
            "stream": {"stream": "yard"},
            "time": self._time,
            "hours": self._hours,
            "labels": {"labels": {"zone": self._values()}, "newest_first": True},
        }
        for name, options in kinds.items():
            by_id = bool(self._rng.random() < 0.5)
            limit = int(self._rng.choice([2, 7, 50]))
            self._ask(f"clips {name}", partial(pages, by_id=by_id, limit=limit, **options))

        def short_memory() -> bytes:
            shown = [one for one in user.clips(as_of=as_of) if one.frames_per_token_row is not None]
            encoded = user.encoded_short_memory([one.id for one in shown], as_of=as_of)
            return repr(encoded).encode()

        self._ask("short memory", short_memory)

        def named() -> bytes:
            ids = [one.id for one in user.clips(as_of=as_of, newest_first=True)]
            return _joined(map(stored_clip_to_proto, user.get_clips(ids, as_of=as_of)))

        self._ask("clips by id", named)

        def missing(name: str, **options: Any) -> bytes:
            return _joined(map(gap_to_proto, user.stream(name).gaps(as_of=as_of, **options)))

        def missing_pages(name: str) -> bytes:
            pages, after = [], None
            while page := user.stream(name).gaps(as_of=as_of, limit=1, after=after):
                pages += [gap_to_proto(one) for one in page]
                after = page[-1]
            return _joined(pages)

        for name in STREAMS:
            self._ask(f"gaps {name}", partial(missing, name))
            self._ask(f"gaps {name} time", partial(missing, name, **self._time))
            self._ask(f"gaps {name} pages", partial(missing_pages, name))

    def labels(self) -> None:
        user, as_of = self._user, self._as_of

        def counted(**options: Any) -> bytes:
            return repr(user.labels(as_of=as_of, **options)).encode()

        def pages() -> bytes:
            found: list[Any] = []
            while page := user.labels(as_of=as_of, limit=2, after=found[-1] if found else None):
                found += [(one.key, one.value) for one in page]
            return repr(found).encode()

        kinds: dict[str, dict[str, Any]] = {
            "all": {},
            "key": {"key": "zone"},
            "stream": {"stream": "porch"},
            "time": self._time,
        }
        for name, options in kinds.items():
            self._ask(f"labels {name}", partial(counted, **options))
        self._ask("labels pages", pages)

    def backtest(self) -> None:
        user, rng, as_of = self._user, self._rng, self._as_of

        def tested(feature: Any, **options: Any) -> Any:
            return backtest_to_proto(user.standing.backtest(feature, as_of=as_of, **options))

        cos = self._features["cos"]
        kinds: dict[str, dict[str, Any]] = {
            "seen": {"min_score": 0.5, "limit": 3},
            "open": {"min_score": 0.5, "sealed_only": False, "window_s": 3600.0},
            "relevance": {"min_relevance": 0.3},
            "sequence": {
                "kind": "sequence",
                "min_score": 0.4,
                "then_feature": vector(rng, 6),
                "window_s": 7200.0,
            },
            "absent": {"kind": "absent", "min_score": 0.8, "window_s": 1800.0},
            "absent time": {"kind": "absent", "min_relevance": 0.5, "window_s": 60.0, **self._time},
            "streams": {"streams": ["porch"], "min_score": 0.0, "thresholds": [0.1, 0.5, 0.9]},
            "labels": {"labels": {"zone": self._values()}, "min_score": 0.1},
            "hours": {**self._hours, "min_relevance": 0.1},
        }
        for name, options in kinds.items():
            self._ask(f"backtest {name}", partial(tested, cos, space="cos", **options))
        dot = self._features["dot"]
        self._ask("backtest dot", partial(tested, dot, space="dot", min_score=4.0))
        self._ask("backtest dot relevance", partial(tested, dot, space="dot", min_relevance=0.2))

    def _values(self) -> list[str]:
        return [str(value) for value in self._rng.choice(WORDS, 2)]

    def _ask(
        self, name: str, question: Callable[[], Any], otherwise: Callable[[], Any] | None = None
    ) -> None:
        """otherwise: what is asked of a user without a text space; as of a revision of one who had none yet a
        feature is passed over, for whoever asks in words has one made by itself.
        """
        try:
            told = question()
        except MemdbError as error:
            lacks_space = isinstance(error, FailedPrecondition) and error.reason == "NO_TEXT_SPACE"
            if lacks_space and otherwise is not None:
                self._ask(name, otherwise)
                return
            # Every error is an answer too, but for its words: they tell what came later from what never did.
            told = repr((type(error), error.reason, error.field, error.value)).encode()
        self.found[name] = (
            told if isinstance(told, bytes) else told.SerializeToString(deterministic=True)
        )
