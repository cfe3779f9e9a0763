"""Whether a no can be trusted, by score and by relevance: the same questions to a memory that answers them and to one
that does not, over real pictures in the bundled space.

A trial is a user with a few cameras.  All but the thing asked for (and what is captioned nearly alike) is written
first; the question has no answer then.  The thing is written to one camera; now it has.  Both are one memory, told
apart by ``as_of``, so no kind of question is on one side only.  ``packaged``: each camera has a look of its own, clear,
by night, in fog or coarse.  ``stamps``: cameras see a mixture, one kind of thing, or one picture for four fifths of
their clips, over 10, 40 and 150 clips.

``*_auroc``: how often an answerable question has a higher best hit than an unanswerable one, of all pairs; 0.5 is
chance.  ``*_false_at_recall_80``: share of the unanswerable that are answered where one bar for all cameras lets 80 %
of the answerable through.  ``*_false_over_50``, ``_90``: share of the unanswerable that pass min_relevance 0.5 and
0.9; ``*_recall_over_50``, ``_90``: of the answerable.  ``*_false_by_camera_10_least``, ``_most``: one bar lets 10 % of
the unanswerable through; how many on the kind of camera where it lets through fewest and most.  ``top1_share``:
answerable questions whose best hit is the thing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

import memdb
from bench.pictures import LOOKS, VIEWS, Scene, loaded_encoder, packaged, stamps
from bench.report import Result, Setup, result
from memdb import Clip
from memdb.types.database import User
from memdb.types.grounding import Grounding

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

    def add(self, answer: Grounding) -> None:
        """Note the best hit; where no clip is left to look at, nothing can be answered."""
        best = answer.hits[0] if answer.hits else None
        self.scores.append(-1.0 if best is None else best.score)
        self.relevances.append(0.0 if best is None or best.relevance is None else best.relevance)

    def values(self, by: str) -> Numbers:
        """Scores or relevances."""
        return np.array(self.scores if by == "score" else self.relevances)


@dataclass(slots=True)
class Tally:
    """What one set of pictures gave."""

    answerable: Asked = field(default_factory=Asked)
    unanswerable: Asked = field(default_factory=Asked)
    by_camera: dict[str, Asked] = field(default_factory=dict)
    """Unanswerable questions by the kind of camera that was asked."""
    right: int = 0


def run(setup: Setup) -> Result:
    """Measure."""
    encoder = loaded_encoder()
    most, views = (4, 2) if setup.quick else (100, VIEWS)
    looks = {look: packaged(encoder, most, look, views) for look in LOOKS}
    cut_outs = stamps(encoder, 12 if setup.quick else 1000)
    rng = np.random.default_rng(setup.seed)
    trials = 6 if setup.quick else 60
    with memdb.open(setup.folder / "data") as database:
        database.create_space(SPACE, dim=encoder.space.dim, model=encoder.space.model)
        tally = Tally()
        for number in range(4 * trials):
            _ask_packaged(rng, database.user(f"packaged-{number}"), looks, tally)
        figures = _figures("packaged", tally)
        if cut_outs:
            tally = Tally()
            for kind in KINDS:
                for size in SIZES[:1] if setup.quick else SIZES:
                    for number in range(trials):
                        user = database.user(f"{kind}-{size}-{number}")
                        _ask_stamps(rng, user, cut_outs, kind, size, tally)
            figures |= _figures("stamps", tally)
    config: dict[str, object] = {
        "scenes": len(looks["clear"]),
        "stamps": len(cut_outs),
        "trials": trials,
        "cameras": CAMERAS,
    }
    return result("relevance", setup, config, figures)


def _ask_packaged(
    rng: np.random.Generator, user: User, looks: dict[str, list[Scene]], tally: Tally
) -> None:
    """The packaged scenes among cameras of different looks."""
    names = [list(looks)[place] for place in rng.permutation(len(looks))[:CAMERAS]]
    thing, *others = rng.permutation(len(looks["clear"])).tolist()
    cameras = []
    for number, look in enumerate(names):
        scenes = [looks[look][place] for place in others[number::CAMERAS]]
        cameras.append([(scene, view) for scene in scenes for view in range(len(scene.views))])
    target = looks[names[0]][thing]
    before = _trial(user, cameras, target, tally)
    for question in target.questions:
        for number, look in enumerate(names):
            only = [f"camera-{number}"]
            answer = user.ground(question, limit=1, as_of=before, streams=only)
            tally.by_camera.setdefault(look, Asked()).add(answer)


def _ask_stamps(
    rng: np.random.Generator,
    user: User,
    scenes: Sequence[Scene],
    kind: str,
    size: int,
    tally: Tally,
) -> None:
    """The stamps among cameras of one kind."""
    cameras, target = _cameras(rng, scenes, kind, size)
    before = _trial(user, [[(scene, 0) for scene in seen] for seen in cameras], target, tally)
    answer = user.ground(target.questions[0], limit=1, as_of=before)
    tally.by_camera.setdefault(f"{kind}-{size}", Asked()).add(answer)


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


def _trial(
    user: User, cameras: Sequence[Sequence[tuple[Scene, int]]], target: Scene, tally: Tally
) -> int:
    """Ask before and after the target was seen, on the first camera; the revision before."""
    for number, seen in enumerate(cameras):
        stream = user.stream(f"camera-{number}", space=SPACE)
        stream.create()
        stream.write_many([_clip(seq, scene.views[view]) for seq, (scene, view) in enumerate(seen)])
    before = user.revision()
    first = len(cameras[0])
    user.stream("camera-0").write_many(
        [_clip(first + view, memory) for view, memory in enumerate(target.views)]
    )
    for question in target.questions:
        tally.unanswerable.add(user.ground(question, limit=1, as_of=before))
        answer = user.ground(question, limit=1)
        tally.answerable.add(answer)
        best = answer.hits[0].clip
        tally.right += best.stream == "camera-0" and best.seq >= first
    return before


def _clip(seq: int, memory: npt.NDArray[np.float32]) -> Clip:
    start_ns = seq * 10 * SECOND_NS
    return Clip(seq=seq, start_ns=start_ns, end_ns=start_ns + 10 * SECOND_NS, global_memory=memory)


def _figures(name: str, tally: Tally) -> dict[str, float]:
    questions = len(tally.answerable.scores)
    figures = {
        f"{name}_questions": float(questions),
        f"{name}_top1_share": tally.right / questions,
    }
    for by in ("score", "relevance"):
        yes, no = tally.answerable.values(by), tally.unanswerable.values(by)
        figures[f"{name}_{by}_auroc"] = auroc(yes, no)
        for recall in (50, 80):
            least = float(np.quantile(yes, 1 - recall / 100))
            figures[f"{name}_{by}_false_at_recall_{recall}"] = float(np.mean(no >= least))
        kinds = [asked.values(by) for asked in tally.by_camera.values()]
        for share in (10, 20):
            least = float(np.quantile(np.concatenate(kinds), 1 - share / 100))
            shares = [float(np.mean(values > least)) for values in kinds]
            figures[f"{name}_{by}_false_by_camera_{share}_least"] = min(shares)
            figures[f"{name}_{by}_false_by_camera_{share}_most"] = max(shares)
    for bar in (0.5, 0.9):
        percent = round(100 * bar)
        passed = tally.unanswerable.values("relevance") >= bar
        figures[f"{name}_false_over_{percent}"] = float(np.mean(passed))
        passed = tally.answerable.values("relevance") >= bar
        figures[f"{name}_recall_over_{percent}"] = float(np.mean(passed))
    return figures


def auroc(yes: Numbers, no: Numbers) -> float:
    """Share of pairs in which the answerable one is ahead; half of a tie."""
    ahead = yes[:, None] > no[None, :]
    level = yes[:, None] == no[None, :]
    return float(np.mean(ahead + 0.5 * level))
