"""Grounding with words beside vectors: what it finds and what it costs.

*films*: the two films of the demo, through the bundled pipeline (real speech, pictures and their labels), with
its questions and the held-out ones.  *dialogue*: conversations in the format of LoCoMo, where ``MEMDB_DIALOGUE``
names a file of them: the first, and the others as ``dialogue_rest``.  Weights were chosen with all of them in
view.  Ways: ``vector`` alone, ``words`` alone, ``rrf`` (both lists, reciprocal rank fusion), ``fused`` (ours).

Latency: a camera-day (5,400 clips, 1536-d) with a transcript, labels and, every second clip, a sound.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

import memdb
import memdb_client
from bench import data
from bench.dialogue import Conversation, conversations
from bench.ranking import Ranking, reciprocal_rank_fusion
from bench.report import Result, Setup, median, percentile, result, time_ms
from bench.server import Server
from memdb import SoundEvent
from memdb.types.arm import EVENTS, LABELS, TRANSCRIPT, TRANSCRIPT_FEATURES, VECTOR
from memdb.types.database import User

DIALOGUE: Final = "MEMDB_DIALOGUE"
DEPTH: Final = 100
"""Hits of each way; what is further down counts as not found."""
SHARES: Final = (0.05, 0.1, 0.2, 0.3, 0.5)
"""Of vectors against transcripts, for the sweep."""
WORDS_ALONE: Final = {VECTOR: 0.0, TRANSCRIPT_FEATURES: 0.0}
_BLOCK: Final = 20
_QUESTIONS: Final = (
    "a red car by the gate",
    "who rings twice?",
    "the dog barks",
    "people with a ladder",
    "siren",
)
_LABELS: Final = ("sports car", "tabby cat", "Labrador", "lawn", "bicycle", "parcel", "coffee mug")
_SOUNDS: Final = ("Dog bark", "Speech", "Car passing", "Door", "Siren")


def run(setup: Setup) -> Result:
    """Measure."""
    figures = _latency(setup)
    config: dict[str, object] = {"clips": figures.pop("clips"), "dim": data.DIM}
    if not setup.quick:
        figures |= _films(setup)
        path = os.environ.get(DIALOGUE)
        config["dialogue"] = path is not None
        if path is not None:
            figures |= _dialogue(setup, conversations(Path(path)))
    ratios = {
        f"{name.removesuffix('_fused_mrr')}_fused_vs_{other}_mrr": value
        / max(figures[name.replace("fused", other)], 1e-9)
        for name, value in figures.items()
        if name.endswith("_fused_mrr")
        for other in ("vector", "words", "rrf")
    }
    return result("hybrid", setup, config, figures, ratios)


# --- what it finds


def _films(setup: Setup) -> dict[str, float]:
    from perception.encoders.text import BundledTextEncoder
    from reasoner.demo.check import Moment, expected_moment, matches
    from reasoner.demo.media import build_films
    from reasoner.demo.run import START
    from reasoner.demo.script import FILMS, HELD_OUT, QUESTIONS
    from reasoner.questions import parse_question

    films = build_films(FILMS)
    start_ns = int(START.timestamp()) * 10**9
    encoder = BundledTextEncoder()
    figures: dict[str, float] = {}
    with Server(setup.folder / "films") as server:
        command = [sys.executable, "-m", "perception.cli", "--server", server.address]
        command += ["--user", "bench", "--start", START.isoformat()]
        for camera, path in films.items():
            command += ["--camera", f"{camera}={path}"]
        subprocess.run(command, check=True, capture_output=True)
        with memdb_client.connect(server.address) as database:
            user = database.user("bench")
            clips = {clip.id: clip for clip in user.clips()}
            figures["films_clips"] = len(clips)
            for name, questions in (("films", QUESTIONS), ("films_held_out", HELD_OUT)):
                rankings: dict[str, Ranking] = {}
                for question in questions:
                    subject = parse_question(question.text).subject
                    right = expected_moment(question, FILMS, start_ns)
                    for way, found in _ways(user, encoder.encode([subject])[0], subject).items():
                        hits = [clips[clip_id] for clip_id in found]
                        # A clip answers what was said where it holds the utterance.
                        said = question.speech is not None
                        rankings.setdefault(way, Ranking()).add_moments(
                            [
                                clip.stream == right.camera
                                and (
                                    clip.start_ns < right.end_ns and clip.end_ns > right.start_ns
                                    if said
                                    else matches(
                                        Moment(clip.stream, clip.start_ns, clip.end_ns), right
                                    )
                                )
                                for clip in hits
                            ]
                        )
                for way, ranking in rankings.items():
                    figures |= ranking.figures(f"{name}_{way}")
    return figures


def _dialogue(setup: Setup, talks: list[Conversation]) -> dict[str, float]:
    from perception.encoders.text import BUNDLED_DIM, BundledTextEncoder

    encoder = BundledTextEncoder()
    rankings: dict[str, Ranking] = {}
    with memdb.open(setup.folder / "dialogue") as database:
        database.create_space("sentences", dim=BUNDLED_DIM)
        for number, talk in enumerate(talks):
            user = database.user(f"talk-{number}")
            stream = user.stream("talk", space="sentences")
            said = encoder.encode_table([text for _, text in talk.turns])
            stream.write_many(talk.clips(said))
            seqs = {clip.id: clip.seq for clip in user.clips(limit=len(talk.turns))}
            name = "dialogue" if number == 0 else "dialogue_rest"
            asked = encoder.encode_table([text for text, _ in talk.questions])
            for (text, right), feature in zip(talk.questions, asked, strict=True):
                ways = _ways(user, feature, text)
                if number == 0:
                    for share in SHARES:
                        weights = {VECTOR: share, TRANSCRIPT: 1.0 - share, EVENTS: 0.0, LABELS: 0.0}
                        ways[f"vector_{round(100 * share)}"] = _ids(
                            user, feature, text=text, weights=weights
                        )
                for way, found in ways.items():
                    ranking = rankings.setdefault(f"{name}_{way}", Ranking())
                    ranking.add([seqs[clip_id] for clip_id in found], right)
    return {key: value for way, one in rankings.items() for key, value in one.figures(way).items()}


def _ways(user: User, feature: Any, text: str) -> dict[str, list[str]]:
    """Ids of the clips that each way finds, best first."""
    vector = _ids(user, feature)
    words = _ids(user, None, text=text, weights=WORDS_ALONE)
    return {
        "vector": vector,
        "words": words,
        "rrf": [str(item) for item in reciprocal_rank_fusion([vector, words])],
        "fused": _ids(user, feature, text=text),
    }


def _ids(
    user: User,
    feature: Any,
    *,
    text: str | None = None,
    weights: Mapping[str, float] | None = None,
) -> list[str]:
    found = user.ground(feature, text=text, weights=weights, limit=DEPTH)
    return [hit.clip.id for hit in found.hits]


# --- what it costs


def _latency(setup: Setup) -> dict[str, float]:
    count, blocks = (300, 1) if setup.quick else (data.DAY_CLIPS, 10)
    vectors = data.vectors(setup.seed, count)
    questions = data.vectors(setup.seed, _BLOCK, stream=1)
    folder = setup.folder / "day"
    with memdb.open(folder) as database:
        database.create_space("bench", dim=data.DIM)
        with database.user("u").stream("camera", space="bench").ingest() as writer:
            for clip in data.clips(setup.seed, vectors):
                writer.send(_named(clip, setup.seed))
    served = setup.folder / "served"
    shutil.copytree(folder, served)
    spent: dict[str, list[float]] = {}
    with (
        memdb.open(folder) as embedded,
        Server(served) as server,
        memdb_client.connect(server.address) as remote,
    ):
        near, far = embedded.user("u"), remote.user("u")
        near.revision()  # opens the user, so that the first question alone is timed
        first_ms = time_ms(lambda: near.ground(text=_QUESTIONS[0]))
        ways: dict[str, Callable[[Any, str], object]] = {
            "embedded": lambda feature, _: near.ground(feature),
            "embedded_text": lambda feature, text: near.ground(feature, text=text),
            "embedded_words_alone": lambda _, text: near.ground(text=text),
            "embedded_explained": lambda feature, text: near.ground(
                feature, text=text, explain=True
            ),
            "grpc": lambda feature, _: far.ground(feature),
            "grpc_text": lambda feature, text: far.ground(feature, text=text),
        }
        order = list(ways.items())
        rng = random.Random(setup.seed)
        for _ in range(blocks):
            rng.shuffle(order)
            for name, ask in order:
                for index in range(-3, _BLOCK):  # three bring this way's data back into the caches
                    text = _QUESTIONS[index % len(_QUESTIONS)]
                    took_ms = time_ms(lambda: ask(questions[index], text))  # noqa: B023
                    if index >= 0:
                        spent.setdefault(name, []).append(took_ms)
    figures = {"clips": float(count), "first_words_ms": first_ms}
    for name, values in spent.items():
        figures[f"{name}_p50_ms"] = median(values)
        figures[f"{name}_p99_ms"] = percentile(values, 99)
    for where in ("embedded", "grpc"):
        plain, worded = (
            [median(values[at : at + _BLOCK]) for at in range(0, len(values), _BLOCK)]
            for values in (spent[where], spent[f"{where}_text"])
        )
        # Blocks of one round met the same machine.
        added = median([b - a for a, b in zip(plain, worded, strict=True)])
        figures[f"{where}_text_added_ms"] = max(added, 1e-3)
    return figures


def _named(clip: memdb.Clip, seed: int) -> memdb.Clip:
    rng = np.random.default_rng((seed, 4, clip.seq))
    first, second = rng.integers(len(_LABELS), size=2)
    events: tuple[SoundEvent, ...] = ()
    if clip.seq % 2:
        name = _SOUNDS[rng.integers(len(_SOUNDS))]
        events = (SoundEvent(clip.start_ns, clip.start_ns + 10**9, name, 0.8),)
    return replace(clip, events=events, labels={"seen": f"{_LABELS[first]}, {_LABELS[second]}"})
