"""Whether a no can be trusted, by score and by relevance: the same questions to a memory that answers them and to one
that does not, over real pictures in the bundled space.

A trial is a user with a few cameras.  All but the thing asked for (and what is captioned nearly alike) is written
first; the question has no answer then.  The thing is written to one camera; now it has.  Both are one memory, told
apart by ``as_of``, so no kind of question is on one side only.  Cameras see a mixture, one kind of thing, or one
picture for four fifths of their clips, over 10, 40 and 150 clips.

``*_auroc``: how often an answerable question has a higher best hit than an unanswerable one, of all pairs; 0.5 is
chance.  ``*_false_at_recall_80``: share of the unanswerable that are answered where one bar for all cameras lets 80 %
of the answerable through.  ``*_false_over_50``, ``_90``: share of the unanswerable that pass min_relevance 0.5 and
0.9; its ``_least`` and ``_most`` over the kinds of cameras stand beside those of one bar on the score that lets as
many through in all.  ``*_recall_over_50``, ``_90``: share of the answerable that pass.  ``top1_share``: answerable
questions whose best hit is the thing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

import memdb
from bench.pictures import Scene, loaded_encoder, packaged, stamps
from bench.report import Result, Setup, result
from memdb import Clip
from memdb.types.database import User

SPACE = "bundled"
CAMERAS = 3
SECOND_NS = 1_000_000_000
ALIKE = 0.6
"""Cosine of two captions from which on they may mean the same."""
KINDS = ("mixed", "theme", "still")
SIZES = (10, 40, 150)

Numbers = npt.NDArray[np.float64]


@dataclass(slots=True)
class Asked:
    """Best hits of questions."""

    scores: list[float] = field(default_factory=list)
    relevances: list[float] = field(default_factory=list)


@dataclass(slots=True)
class Tally:
    """What one kind of cameras gave."""

    answerable: Asked = field(default_factory=Asked)
    unanswerable: Asked = field(default_factory=Asked)
    right: int = 0


def run(setup: Setup) -> Result:
    """Measure."""
    encoder = loaded_encoder()
    scenes = packaged(encoder, 6 if setup.quick else 100)
    cut_outs = stamps(encoder, 40 if setup.quick else 1000)
    rng = np.random.default_rng(setup.seed)
    trials = 6 if setup.quick else 60
    figures: dict[str, float] = {}
    with memdb.open(setup.folder / "data") as database:
        database.create_space(SPACE, dim=encoder.space.dim, model=encoder.space.model)
        tallies = {"packaged": Tally()}
        for number in range(trials):
            user = database.user(f"packaged-{number}")
            target, *others = (scenes[place] for place in rng.permutation(len(scenes)))
            cameras: list[list[Scene]] = [others[camera::CAMERAS] for camera in range(CAMERAS)]
            _trial(
                user,
                [[s for s in seen for _ in s.views] for seen in cameras],
                target,
                tallies["packaged"],
            )
        figures |= _figures("packaged", tallies)
        if cut_outs:
            tallies = {}
            for kind in KINDS:
                for size in SIZES[:1] if setup.quick else SIZES:
                    tally = tallies[f"{kind}-{size}"] = Tally()
                    for number in range(trials):
                        user = database.user(f"{kind}-{size}-{number}")
                        cameras, target = _cameras(rng, cut_outs, kind, size)
                        _trial(user, cameras, target, tally)
            figures |= _figures("stamps", tallies)
    config: dict[str, object] = {
        "scenes": len(scenes),
        "stamps": len(cut_outs),
        "trials": trials,
        "cameras": CAMERAS,
    }
    return result("relevance", setup, config, figures)


def _cameras(
    rng: np.random.Generator, scenes: Sequence[Scene], kind: str, size: int
) -> tuple[list[list[Scene]], Scene]:
    """What each camera sees, without anything that answers the target, and the target."""
    groups = sorted({scene.group for scene in scenes})
    cameras: list[list[Scene]] = []
    for _ in range(CAMERAS):
        if kind == "theme":
            group = groups[rng.integers(len(groups))]
            own = [scene for scene in scenes if scene.group == group]
        else:
            own = list(scenes)
        seen = [own[place] for place in rng.permutation(len(own))[:size]]
        if kind == "still":
            still, few = seen[0], seen[1 : 1 + max(2, size // 5)]
            seen = [*few, *[still] * (size - len(few))]
            seen = [seen[place] for place in rng.permutation(len(seen))]
        cameras.append(seen)
    target = cameras[0][rng.integers(len(cameras[0]))]
    words = target.questions[0]
    kept = [[s for s in seen if float(s.questions[0] @ words) < ALIKE] for seen in cameras]
    return kept, target


def _trial(user: User, cameras: Sequence[Sequence[Scene]], target: Scene, tally: Tally) -> None:
    """Ask before and after the target was seen, on the first camera."""
    for number, seen in enumerate(cameras):
        stream = user.stream(f"camera-{number}", space=SPACE)
        stream.create()
        times_seen: dict[str, int] = {}
        clips = []
        for seq, scene in enumerate(seen):
            view = times_seen[scene.name] = times_seen.get(scene.name, -1) + 1
            clips.append(_clip(seq, scene.views[view % len(scene.views)]))
        stream.write_many(clips)
    before = user.revision()
    first = len(cameras[0])
    wanted = {first + view for view in range(len(target.views))}
    user.stream("camera-0").write_many(
        [_clip(first + view, memory) for view, memory in enumerate(target.views)]
    )
    for question in target.questions:
        for as_of, asked in ((before, tally.unanswerable), (None, tally.answerable)):
            hits = user.ground(question, limit=1, as_of=as_of).hits
            # Where the filter left no clip at all, nothing can be answered falsely.
            asked.scores.append(hits[0].score if hits else -1.0)
            asked.relevances.append((hits[0].relevance or 0.0) if hits else 0.0)
        tally.right += hits[0].clip.stream == "camera-0" and hits[0].clip.seq in wanted


def _clip(seq: int, memory: npt.NDArray[np.float32]) -> Clip:
    start_ns = seq * 10 * SECOND_NS
    return Clip(seq=seq, start_ns=start_ns, end_ns=start_ns + 10 * SECOND_NS, global_memory=memory)


def _figures(name: str, tallies: dict[str, Tally]) -> dict[str, float]:
    answerable = len([score for tally in tallies.values() for score in tally.answerable.scores])
    figures = {
        f"{name}_questions": float(answerable),
        f"{name}_top1_share": sum(tally.right for tally in tallies.values()) / answerable,
    }
    for by in ("score", "relevance"):
        yes, no = (_all(tallies, side, by) for side in ("answerable", "unanswerable"))
        figures[f"{name}_{by}_auroc"] = auroc(yes, no)
        for recall in (50, 80):
            least = float(np.quantile(yes, 1 - recall / 100))
            figures[f"{name}_{by}_false_at_recall_{recall}"] = float(np.mean(no >= least))
    for bar in (0.5, 0.9):
        percent = round(100 * bar)
        no = _all(tallies, "unanswerable", "relevance")
        false = float(np.mean(no >= bar))
        figures[f"{name}_false_over_{percent}"] = false
        yes = _all(tallies, "answerable", "relevance")
        figures[f"{name}_recall_over_{percent}"] = float(np.mean(yes >= bar))
        by_score = float(np.quantile(_all(tallies, "unanswerable", "score"), 1 - false))
        for by, least in (("relevance", bar), ("score", by_score)):
            shares = [
                float(np.mean(np.array(getattr(tally.unanswerable, f"{by}s")) >= least))
                for tally in tallies.values()
            ]
            figures[f"{name}_{by}_false_over_{percent}_least"] = min(shares)
            figures[f"{name}_{by}_false_over_{percent}_most"] = max(shares)
    return figures


def _all(tallies: dict[str, Tally], side: str, by: str) -> Numbers:
    return np.array(
        [x for tally in tallies.values() for x in getattr(getattr(tally, side), f"{by}s")]
    )


def auroc(yes: Numbers, no: Numbers) -> float:
    """Share of pairs in which the answerable one is ahead; half of a tie."""
    ahead = yes[:, None] > no[None, :]
    level = yes[:, None] == no[None, :]
    return float(np.mean(ahead + 0.5 * level))
