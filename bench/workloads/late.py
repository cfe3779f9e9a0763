"""Late interaction on planted moments (`bench.planted`): is the right clip first, are the right seconds told,
what does a comparison take, and which candidates a question without a feature should have.

Quality: questions are asked of the camera that the moment was planted in, of an embedded database whose
clips are coded as `memdb-ingest` codes them.  ``top`` goes by the sentence's feature alone; ``maxsim`` re-ranks
its ten best with tokens that weigh the same, ``idf`` with learned weights; ``tokens`` has no feature.  ``plain``
questions name what was planted, ``beside`` questions also what the camera always sees; ``anywhere`` asks
plain questions of all cameras at once, and any clip that shows the thing is right.  ``iou``: of the frames
that the spans of the right clip cover and those in which the moment is; ``iou_first_to_last`` is that of the
stretch from the first to the last best row over all tokens, which is what spans were before.

Speed: time of the processor, one clip of 64 rows after the other, from bytes to the best cosine of each of 8
tokens: from codes, and by decoding, unit rows and cosines, as it was before.  ``_cpu_ms``: of a whole question
to one camera.

Candidates: how many of the clips that an exact comparison of all puts first (``r1``) and among the first ten
(``r10``) are among N candidates, by the global memory and by fixed encodings (`bench.fixed_encodings`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import numpy as np

import memdb
from bench.fixed_encodings import FixedEncoder, Sizes
from bench.planted import FRAMES, Planted, PlantedClip, PlantedQuestion, planted_moments
from bench.report import Result, Setup, median, result
from memdb.codecs.scaled import scaled_rows
from memdb.codecs.tensors import decode_verified, encode_tensor
from memdb.index.directions import unit_rows, unit_vector
from memdb.index.late_interaction import best_cosines
from memdb.types.clip import Clip
from memdb.types.database import User
from memdb.types.grounding import Grounding, Hit
from memdb.types.tensor import CODEC_NAMES
from perception.encoders.conse import BUNDLED_SPACE, REGIONS
from perception.ingest_options import CODEC

SECOND_NS: Final = 10**9
RECORDINGS: Final = 4
RERANK: Final = 10
CANDIDATES: Final = (16, 32, 64)
ENCODINGS: Final = (Sizes(8, 3, 16), Sizes(20, 5, 16), Sizes(2, 4, 384))
ROWS: Final = 64
TOKENS: Final = 8
WIDE: Final = 1536


def run(setup: Setup) -> Result:
    """Measure."""
    planted = planted_moments(setup.seed, 1 if setup.quick else RECORDINGS, quick=setup.quick)
    figures = _quality(setup, planted)
    figures |= _candidates(setup, planted)
    ratios: dict[str, float] = {}
    for dim in (BUNDLED_SPACE.dim, WIDE):
        for name, (codes_us, decoded_us) in _speed(setup, planted, dim).items():
            figures[f"{name}_{dim}_codes_us"] = codes_us
            figures[f"{name}_{dim}_decoded_us"] = decoded_us
            ratios[f"codes_vs_decoded_{name}_{dim}"] = codes_us / decoded_us
    config: dict[str, object] = {
        "codec": CODEC,
        "recordings": len(planted),
        "clips": sum(len(clips) for one in planted for clips in one.cameras.values()),
        "questions": sum(len(one.questions) for one in planted),
        "rerank": RERANK,
    }
    return result("late", setup, config, figures, ratios)


def _quality(setup: Setup, planted: Sequence[Planted]) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    with memdb.open(setup.folder / "late") as database:
        database.create_space(BUNDLED_SPACE.name, dim=BUNDLED_SPACE.dim, model=BUNDLED_SPACE.model)
        for number, one in enumerate(planted):
            user = database.user(f"recording-{number}")
            _write(user, one)
            for question in one.questions:
                right = _right(one, question)
                kind = "beside" if "beside" in question.text else "plain"
                for way, answer in _answers(user, question, len(one.cameras[question.camera])):
                    seqs = [hit.clip.seq for hit in answer.hits]
                    key = f"{kind}_{way}"
                    found.setdefault(f"{key}_r1", []).append(seqs[0] == right)
                    found.setdefault(f"{key}_r5", []).append(right in seqs[:5])
                    spans = [hit for hit in answer.hits if hit.clip.seq == right and hit.spans]
                    for hit in spans:
                        clip = one.cameras[question.camera][right]
                        found.setdefault(f"{key}_iou", []).append(_overlap(_told(hit), clip))
                if kind == "plain":
                    for weighting in ("idf", "uniform"):
                        shows = _anywhere(user, one, question, weighting)
                        found.setdefault(f"anywhere_{weighting}_r1", []).append(shows[0])
                        found.setdefault(f"anywhere_{weighting}_r5", []).append(any(shows))
                clip = one.cameras[question.camera][right]
                first_to_last = _overlap(_first_to_last(question, clip), clip)
                found.setdefault(f"{kind}_iou_first_to_last", []).append(first_to_last)
            for way in ("maxsim", "idf", "tokens"):
                begin = time.process_time()
                for question in one.questions:
                    list(_answers(user, question, RERANK, only=way))
                spent = (time.process_time() - begin) / len(one.questions)
                found.setdefault(f"{way}_cpu_ms", []).append(spent * 1e3)
    return {name: float(np.mean(values)) for name, values in found.items()}


def _write(user: User, one: Planted) -> None:
    for camera, clips in one.cameras.items():
        stream = user.stream(_stream(camera), space=BUNDLED_SPACE.name, codec=CODEC)
        stream.write_many(
            [
                Clip(
                    seq=seq,
                    start_ns=seq * FRAMES * SECOND_NS,
                    end_ns=(seq + 1) * FRAMES * SECOND_NS,
                    global_memory=clip.memory.global_memory,
                    short_memory=clip.memory.short_memory,
                    frames_per_token_row=clip.memory.frames_per_token_row,
                )
                for seq, clip in enumerate(clips)
            ]
        )


def _answers(
    user: User, question: PlantedQuestion, limit: int, only: str | None = None
) -> Iterator[tuple[str, Grounding]]:
    streams = [_stream(question.camera)]
    ways: dict[str, Callable[[], Grounding]] = {
        "top": lambda: user.ground(question.feature, limit=limit, streams=streams),
        "maxsim": lambda: user.ground(
            question.feature,
            limit=limit,
            streams=streams,
            question_tokens=question.tokens,
            rerank=RERANK,
            weighting="uniform",
        ),
        "idf": lambda: user.ground(
            question.feature,
            limit=limit,
            streams=streams,
            question_tokens=question.tokens,
            rerank=RERANK,
        ),
        "tokens": lambda: user.ground(
            policy="tokens", limit=limit, streams=streams, question_tokens=question.tokens
        ),
        "tokens_uniform": lambda: user.ground(
            policy="tokens",
            limit=limit,
            streams=streams,
            question_tokens=question.tokens,
            weighting="uniform",
        ),
    }
    for way, ask in ways.items():
        if only in (None, way):
            yield way, ask()


def _anywhere(user: User, one: Planted, question: PlantedQuestion, weighting: str) -> list[bool]:
    """Whether each of the five best clips of all cameras shows what the question names."""
    answer = user.ground(
        policy="tokens", limit=5, question_tokens=question.tokens, weighting=weighting
    )
    named = {_stream(camera): camera for camera in one.cameras}
    return [
        question.planted
        in (named[hit.clip.stream], one.cameras[named[hit.clip.stream]][hit.clip.seq].planted)
        for hit in answer.hits
    ]


def _stream(camera: str) -> str:
    return camera.replace(" ", "-")


def _right(one: Planted, question: PlantedQuestion) -> int:
    clips = one.cameras[question.camera]
    return next(seq for seq, clip in enumerate(clips) if clip.planted == question.planted)


def _told(hit: Hit) -> set[int]:
    return {
        frame
        for span in hit.spans
        if span.first_frame is not None and span.last_frame is not None
        for frame in range(span.first_frame, span.last_frame + 1)
    }


def _first_to_last(question: PlantedQuestion, clip: PlantedClip) -> set[int]:
    best = (unit_rows(question.tokens) @ unit_rows(clip.memory.short_memory).T).argmax(axis=1)
    return set(range(int(best.min()) // REGIONS, int(best.max()) // REGIONS + 1))


def _overlap(told: set[int], clip: PlantedClip) -> float:
    there = set(range(clip.frames[0], clip.frames[1] + 1))
    return len(told & there) / len(told | there)


def _candidates(setup: Setup, planted: Sequence[Planted]) -> dict[str, float]:
    clips = [clip.memory for one in planted for clips in one.cameras.values() for clip in clips]
    rows = [unit_rows(memory.short_memory) for memory in clips]
    means = unit_rows(np.stack([memory.global_memory for memory in clips]))
    questions = {q.text: q for one in planted for q in one.questions}.values()
    tokens = [unit_rows(question.tokens) for question in questions]
    exact = np.stack([[float((t @ r.T).max(axis=1).mean()) for r in rows] for t in tokens])
    ways = {
        "global_sentence": np.stack([means @ unit_vector(q.feature) for q in questions]),
        "global_tokens": np.stack([means @ t.mean(axis=0) for t in tokens]),
    }
    figures: dict[str, float] = {}
    for sizes in ENCODINGS:
        encoder = FixedEncoder(rows[0].shape[1], sizes, setup.seed)
        encoded = np.stack([encoder.clip(one) for one in rows])
        name = f"fixed_{sizes.dim}"
        ways[name] = np.stack([encoded @ encoder.question(t) for t in tokens])
        figures[f"{name}_bytes_per_clip"] = 2.0 * sizes.dim
    figures["codes_bytes_per_clip"] = float(
        np.mean(
            [
                len(encode_tensor(m.short_memory, CODEC_NAMES[CODEC], period=REGIONS).payload)
                for m in clips
            ]
        )
    )
    order = np.argsort(-exact, axis=1, kind="stable")
    for name, scores in ways.items():
        chosen = np.argsort(-scores, axis=1, kind="stable")
        for count in CANDIDATES:
            firsts = [best[0] in taken[:count] for best, taken in zip(order, chosen, strict=True)]
            tens = [
                len(set(best[:10]) & set(taken[:count])) / 10
                for best, taken in zip(order, chosen, strict=True)
            ]
            figures[f"{name}_r1_of_{count}"] = float(np.mean(firsts))
            figures[f"{name}_r10_of_{count}"] = float(np.mean(tens))
    return figures


def _speed(setup: Setup, planted: Sequence[Planted], dim: int) -> dict[str, tuple[float, float]]:
    """Microseconds from codes and by decoding, by codec."""
    pieces = [clip.memory for one in planted for clips in one.cameras.values() for clip in clips]
    rows = [
        np.concatenate([first.short_memory, second.short_memory])[:ROWS].astype(np.float32)
        for first, second in zip(pieces[::2], pieces[1::2], strict=False)
    ]
    random = np.random.default_rng(setup.seed)
    if dim != rows[0].shape[1]:
        turned = np.linalg.qr(random.normal(size=(dim, rows[0].shape[1])))[0].T.astype(np.float32)
        rows = [one @ turned for one in rows]
    questions = unit_rows(random.normal(size=(TOKENS, dim)).astype(np.float32))
    found: dict[str, tuple[float, float]] = {}
    for name, codec in CODEC_NAMES.items():
        tensors = [encode_tensor(one, codec, period=REGIONS) for one in rows]
        codes_us: list[float] = []
        decoded_us: list[float] = []
        for _ in range(2 if setup.quick else 9):
            begin = time.process_time()
            for tensor in tensors:
                best_cosines(questions, scaled_rows(tensor))
            middle = time.process_time()
            for tensor in tensors:
                (questions @ unit_rows(decode_verified(tensor)).T).max(axis=1)
            end = time.process_time()
            codes_us.append((middle - begin) / len(tensors) * 1e6)
            decoded_us.append((end - middle) / len(tensors) * 1e6)
        found[name] = median(codes_us), median(decoded_us)
    return found
