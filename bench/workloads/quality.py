"""Whether a question finds the right moment of a day: the whole pipeline, from frames to answers.

A generated day of four cameras (`bench.day`) goes through the perception pipeline into an embedded database, and each
question is asked in several ways:

``last``      of the newest clips alone, as if there were no memory, in one of our ways (``hybrid``)
``ixc_*``     the four published policies
``top``       by the feature of the question's subject; ``relevant``: of that only what has `MIN_RELEVANCE`
``maxsim``    and the candidates re-ranked by late interaction, all tokens the same; ``idf``: with learned weights
``tokens``    late interaction with every clip
``hybrid``    the feature, and the words in what was said and heard and in the labels, fused
``whole``     the feature, the words, and late interaction

``_r1``, ``_r5``: per cent of the questions with a right clip first, or among the first five; ``_mrr``: mean reciprocal
rank × 100 (of five).  ``_iou``: per cent of the seconds that the first hit tells and those of the moment that are both;
0 where the first hit is wrong.  ``_iou_right``: the same of the first right hit, where there is one.  ``_told_s``:
seconds that the first hit tells: its spans where it has some, else the clip.  ``_old``, ``_recent``: of the questions
of which no right moment, or one, is among the `LAST_CLIPS` newest clips.  ``A_minus_B_r1``: per cent of questions,
with the ends of the 95 % interval of a bootstrap over days and the questions of each.

``--seeds 7,8`` asks the days of several seeds.  They are split: what is chosen (weights, rules, defaults) is chosen on
seeds below `TEST_SEEDS_FROM`, whose stamps are others than those of the seeds from there on; figures that are published
are of the latter.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from typing import Final

import numpy as np

import memdb
from bench.answered import Answered
from bench.day import Day, DayQuestion, generated_day
from bench.day_camera import DayCamera
from bench.day_memory import clips_of_day, write_day
from bench.intervals import interval_of_groups
from bench.pictures import loaded_encoder
from bench.remembering import RememberingEncoder
from bench.report import Result, Setup, result
from bench.things import BACKGROUNDS, things
from memdb.types.arrays import Array
from memdb.types.clip import Clip
from memdb.types.database import User
from memdb.types.grounding import POLICIES, Grounding
from perception.encoders.base import Encoder
from perception.encoders.conse import BUNDLED_SPACE
from perception.encoders.text import BundledTextEncoder
from reasoner.questions import parse_question

TEST_SEEDS_FROM: Final = 7
"""Below, seeds are for choosing."""
DAYS: Final = 4
QUICK_THINGS: Final = 40
LAST_CLIPS: Final = 32
LIMIT: Final = 5
RERANK: Final = 32
MIN_RELEVANCE: Final = 0.5
STEPS: Final = (
    ("idf", "top"),
    ("hybrid", "idf"),
    ("hybrid", "top"),
    ("whole", "hybrid"),
    ("hybrid", "last"),
)
"""Ways that are compared, question by question."""
_WORD: Final = re.compile(r"\w{4,}")


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """A question as it is put to the database."""

    question: DayQuestion
    subject: str
    tokens: Array
    """(n, dim): the subject, and its words of four letters and more."""

    @property
    def feature(self) -> Array:
        """(dim,) of the subject."""
        return np.asarray(self.tokens[0])


def run(setup: Setup) -> Result:
    """Measure."""
    encoder = RememberingEncoder(loaded_encoder())
    text = BundledTextEncoder()
    seeds = setup.seeds or (setup.seed,)
    half = int(seeds[0] >= TEST_SEEDS_FROM)
    if any(half != int(seed >= TEST_SEEDS_FROM) for seed in seeds):
        raise ValueError(f"seeds {seeds}: some are for choosing, some for measuring")
    known = things(half)[: QUICK_THINGS if setup.quick else None]
    cameras = {name: DayCamera(name) for name in BACKGROUNDS}
    tally = Tally()
    clips, days = 0, 1 if setup.quick else DAYS
    with memdb.open(setup.folder / "quality") as database:
        database.create_space(BUNDLED_SPACE.name, dim=BUNDLED_SPACE.dim, model=BUNDLED_SPACE.model)
        for seed, number in product(seeds, range(days)):
            random = np.random.default_rng((seed, number))
            day = generated_day(random, known, encoder, quick=setup.quick)
            made = clips_of_day(day, cameras, encoder, text)
            user = database.user(f"day-{seed}-{number}")
            write_day(user, made, BUNDLED_SPACE.name)
            ask_day(user, day, made, encoder, tally)
            clips += sum(map(len, made.values()))
    config: dict[str, object] = {
        "set": "test" if half else "choosing",
        "seeds": list(seeds),
        "days": days * len(seeds),
        "clips": clips,
        "things": len(known),
        "pictures_encoded": encoder.encoded,
        "questions": {kind: len(found) for kind, found in tally.kinds.items()},
        "last_clips": LAST_CLIPS,
        "rerank": RERANK,
        "min_relevance": MIN_RELEVANCE,
    }
    return result("quality", setup, config, tally.figures(setup.seed))


@dataclass(slots=True)
class Tally:
    """Answers by way, and by way and part: of a kind of question, with old or recent evidence."""

    all: dict[str, Answered] = field(default_factory=dict)
    parts: dict[tuple[str, str], Answered] = field(default_factory=dict)
    kinds: dict[str, list[str]] = field(default_factory=dict)
    """Questions of each kind."""
    days: list[int] = field(default_factory=list)
    """Of each question."""

    def add(self, way: str, answer: Grounding, question: DayQuestion, age: str) -> None:
        """One answer."""
        self.all.setdefault(way, Answered()).add(answer.hits, question.right)
        for part in (question.kind, age):
            self.parts.setdefault((way, part), Answered()).add(answer.hits, question.right)

    def figures(self, seed: int) -> dict[str, float]:
        """What the workload promises."""
        figures: dict[str, float] = {}
        for way, answered in self.all.items():
            figures |= answered.figures(way)
        for (way, part), answered in self.parts.items():
            figures |= {
                name: value
                for name, value in answered.figures(f"{way}_{part}").items()
                if name.endswith(("_r1", "_r5", "_iou"))
            }
        for better, worse in STEPS:
            for measure in ("r1", "r5", "iou"):
                ahead, behind = (getattr(self.all[way], measure) for way in (better, worse))
                apart = [100 * (a - b) for a, b in zip(ahead, behind, strict=True)]
                low, high = interval_of_groups(apart, self.days, seed)
                name = f"{better}_minus_{worse}_{measure}"
                figures |= {name: float(np.mean(apart)), f"{name}_low": low, f"{name}_high": high}
        return figures


def ask_day(
    user: User, day: Day, clips: dict[str, list[Clip]], encoder: Encoder, tally: Tally
) -> None:
    """Put each question of a day in every way."""
    today = tally.days[-1] + 1 if tally.days else 0
    newest = sorted(clip.start_ns for own in clips.values() for clip in own)[-LAST_CLIPS:]
    for question in day.questions:
        age = "recent" if any(one.end_ns > newest[0] for one in question.right) else "old"
        tally.kinds.setdefault(question.kind, []).append(question.text)
        tally.days.append(today)
        for way, ask in ways(user, asked(question, encoder), newest[0]).items():
            tally.add(way, ask(), question, age)


def asked(question: DayQuestion, encoder: Encoder) -> Asked:
    """The subject of a question, as the reasoner takes it, and its features."""
    subject = parse_question(question.text).subject
    return Asked(question, subject, encoder.encode_texts([subject, *_WORD.findall(subject)]))


def ways(user: User, one: Asked, newest_ns: int) -> dict[str, Callable[[], Grounding]]:
    """Every way to ask; ``newest_ns``: where the newest clips begin."""
    plain = partial(user.ground, one.feature, limit=LIMIT)
    late = partial(plain, question_tokens=one.tokens, rerank=RERANK)
    found = {
        f"ixc_{policy.removeprefix('ixc-')}": partial(plain, policy=policy)
        for policy in POLICIES
        if policy != "top"
    }
    return {
        "last": partial(plain, text=one.subject, start_ns=newest_ns),
        **found,
        "top": plain,
        "relevant": partial(plain, min_relevance=MIN_RELEVANCE),
        "maxsim": partial(late, weighting="uniform"),
        "idf": late,
        "tokens": partial(user.ground, policy="tokens", limit=LIMIT, question_tokens=one.tokens),
        "hybrid": partial(plain, text=one.subject),
        "whole": partial(late, text=one.subject),
    }
