"""A generated day of four cameras, with planted moments, their near-duplicates, and questions about them.

A camera records stretches of some seconds, spread over the day.  In most of them it sees its own scene alone; some
hold a moment: a thing in front of the scene, something said, a sound, or two of these.  Each question is about one
moment and is made of the thing's caption and of what was said or heard, never by looking at what is found.

``seen``    a thing that was shown once, or on two cameras: either is right.
``worded``  the same, by the other wording of the packaged pictures.
``said``    a thing was shown while somebody spoke of it; the same thing was shown elsewhere with other words.
``sound``   a thing was shown while something was heard; the same thing elsewhere in silence, the sound elsewhere too.
``told``    somebody spoke of a thing that is not in the picture; every second such thing is shown elsewhere.

A quarter of the moments asked for are among the last stretches of the day.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from bench.day_camera import GAINS, NOISES, WINDOWS, DayCamera, Placed, Shot
from bench.day_words import CHATTER, SAID, SEEN, SOUND, SOUNDS
from bench.pictures import Pixels
from bench.things import BACKGROUNDS, Thing
from memdb import SoundEvent, Utterance
from perception.encoders.base import Encoder

KINDS: Final = ("seen", "worded", "said", "sound", "told")
SECOND_NS: Final = 10**9
FIRST_NS: Final = 1_750_000_000 * SECOND_NS
DAY_S: Final = 16 * 3600
"""From six in the morning to ten in the evening."""
NIGHT_S: Final = 14 * 3600
"""When it gets dark."""
FOG_S: Final = (3600, 3 * 3600)
"""When there is fog."""
STRETCHES: Final = 40
"""Of each camera."""
SECONDS: Final = (10, 18)
"""Of a stretch: fewest and most."""
SHOWN_S: Final = (4, 8)
THINGS: Final = {"seen": 12, "said": 8, "sound": 8, "told": 8}
"""Of each kind in a day."""
RECENT_STRETCHES: Final = 16
"""The last of the day, of all cameras: a quarter of the moments asked for is there."""
ALIKE: Final = 0.6
"""Cosine of two captions from which on they may mean the same: such two are not in one day."""


@dataclass(slots=True, eq=False)
class Moment:
    """Something that happened before a camera."""

    camera: str
    start_ns: int
    end_ns: int


@dataclass(slots=True, eq=False)
class Stretch:
    """What one camera recorded without a break, one frame a second."""

    camera: str
    start_ns: int
    shot: Shot
    seconds: int
    cut_at: int | None
    """The second from which on it looks through its other window."""
    placed: tuple[Placed, Placed] | None = None
    """What is shown, at first and then: it moves."""
    shown: tuple[int, int] = (0, 0)
    """First second of it, and the one after the last."""
    utterances: list[Utterance] = field(default_factory=list)
    events: list[SoundEvent] = field(default_factory=list)
    taken: bool = False

    def frames(self, camera: DayCamera) -> list[Pixels]:
        """A frame for each second."""
        made = []
        for second in range(self.seconds):
            shot = self.shot
            if self.cut_at is not None and second >= self.cut_at:
                shot = Shot((shot.window + 1) % len(WINDOWS), shot.gain, shot.look)
            placed = None
            if self.placed is not None and self.shown[0] <= second < self.shown[1]:
                placed = self.placed[second >= sum(self.shown) // 2]
            made.append(camera.frame(shot, second % NOISES, placed))
        return made

    def moment(self) -> Moment:
        """The time of what is planted."""
        first, end = (self.start_ns + second * SECOND_NS for second in self.shown)
        return Moment(self.camera, first, end)


@dataclass(frozen=True, slots=True, eq=False)
class DayQuestion:
    """A question and the moments that are right, any of them."""

    text: str
    kind: str
    right: tuple[Moment, ...]


@dataclass(frozen=True, slots=True)
class Day:
    """Stretches of all cameras in the order of their times, and the questions."""

    stretches: tuple[Stretch, ...]
    questions: tuple[DayQuestion, ...]


def generated_day(
    random: np.random.Generator, things: list[Thing], encoder: Encoder, *, quick: bool
) -> Day:
    """One day of its own; ``encoder`` is asked for captions that mean the same, for nothing else."""
    counts = dict.fromkeys(THINGS, 2) if quick else THINGS
    stretches = _stretches(random, 7 if quick else STRETCHES)
    planner = _Planner(random, stretches, 4 if quick else RECENT_STRETCHES)
    chosen = _chosen(random, things, sum(counts.values()), encoder)
    questions: list[DayQuestion] = []
    for kind, count in counts.items():
        for number in range(min(count, len(chosen))):
            questions += planner.planted(kind, number, chosen.pop())
    planner.chatter(len(stretches) // 8)
    return Day(tuple(stretches), tuple(questions))


def _stretches(random: np.random.Generator, each: int) -> list[Stretch]:
    made = []
    for camera in BACKGROUNDS:
        slot_s = DAY_S // each
        for number in range(each):
            seconds = int(random.integers(SECONDS[0], SECONDS[1] + 1))
            start_s = number * slot_s + int(random.integers(slot_s - seconds))
            look = "clear"
            if start_s >= NIGHT_S:
                look = "night"
            elif FOG_S[0] <= start_s < FOG_S[1]:
                look = "fog"
            shot = Shot(int(random.integers(len(WINDOWS))), float(random.choice(GAINS)), look)
            cut_at = int(random.integers(3, seconds - 3)) if random.random() < 0.15 else None
            start_ns = FIRST_NS + start_s * SECOND_NS
            made.append(Stretch(camera, start_ns, shot, seconds, cut_at))
    return sorted(made, key=lambda stretch: stretch.start_ns)


def _chosen(
    random: np.random.Generator, things: list[Thing], count: int, encoder: Encoder
) -> list[Thing]:
    """Things of which no two have captions alike, in random order."""
    features = encoder.encode_texts([thing.captions[0] for thing in things])
    chosen: list[int] = []
    for place in random.permutation(len(things)).tolist():
        if all(float(features[place] @ features[other]) < ALIKE for other in chosen):
            chosen.append(place)
    return [things[place] for place in chosen[:count]]


class _Planner:
    """Puts moments into stretches that hold none yet."""

    def __init__(self, random: np.random.Generator, stretches: list[Stretch], recent: int) -> None:
        self._random = random
        self._recent = stretches[-recent:]
        self._old = stretches[:-recent]
        self._words = 0

    def planted(self, kind: str, number: int, thing: Thing) -> list[DayQuestion]:
        """Plant what belongs to one question, and ask it."""
        caption = thing.captions[0]
        said, asked = SAID[self._words % len(SAID)]
        other_said, _ = SAID[(self._words + 1) % len(SAID)]
        self._words += 1
        sound, heard = SOUNDS[number % len(SOUNDS)]
        recent = number % 4 == 3
        home = self._free(self._recent if recent else self._old)
        if kind != "told":
            self._show(home, thing)
        else:
            home.shown = (0, home.seconds)
        right = [home.moment()]
        questions = []
        if kind == "seen":
            if number % 3 == 2:
                again = self._free(self._old, home.camera)
                self._show(again, thing)
                right.append(again.moment())
            texts = [("seen", SEEN.format(thing=caption))]
            texts += [("worded", SEEN.format(thing=other)) for other in thing.captions[1:]]
        elif kind == "said":
            self._say(home, said.format(thing=caption))
            twin = self._free(self._old, home.camera)
            self._show(twin, thing)
            self._say(twin, other_said.format(thing="it"))
            texts = [("said", asked.format(thing=caption))]
        elif kind == "sound":
            self._hear(home, sound)
            self._show(self._free(self._old, home.camera), thing)
            self._hear(self._free(self._old), sound)
            texts = [("sound", SOUND.format(thing=caption, sound=heard))]
        else:
            self._say(home, said.format(thing=caption))
            words = home.utterances[0]
            right = [Moment(home.camera, words.start_ns, words.end_ns)]
            if number % 2:
                self._show(self._free(self._old, home.camera), thing)
            texts = [("told", asked.format(thing=caption))]
        questions += [DayQuestion(text, named, tuple(right)) for named, text in texts]
        return questions

    def chatter(self, count: int) -> None:
        """Let people speak of other things where nothing else happens."""
        for _ in range(count):
            stretch = self._free(self._old)
            stretch.shown = (0, stretch.seconds)
            self._say(stretch, str(self._random.choice(CHATTER)))

    def _free(self, among: list[Stretch], but: str | None = None) -> Stretch:
        free = [one for one in among if not one.taken and one.camera != but]
        stretch = free[int(self._random.integers(len(free)))]
        stretch.taken = True
        return stretch

    def _show(self, stretch: Stretch, thing: Thing) -> None:
        length = int(self._random.integers(SHOWN_S[0], SHOWN_S[1] + 1))
        begin = int(self._random.integers(stretch.seconds - length + 1))
        stretch.shown = (begin, begin + length)
        height, left, top, step = self._random.uniform(
            (0.4, 0.0, 0.2, -0.15), (0.75, 1.0, 1.0, 0.15)
        )
        then = float(np.clip(left + step, 0, 1))
        stretch.placed = Placed(thing, height, left, top), Placed(thing, height, then, top)

    def _say(self, stretch: Stretch, text: str) -> None:
        start_ns, end_ns = self._within(stretch)
        stretch.utterances.append(Utterance(start_ns, end_ns, text, language="en"))

    def _hear(self, stretch: Stretch, label: str) -> None:
        if stretch.shown == (0, 0):
            stretch.shown = (0, stretch.seconds)
        stretch.events.append(SoundEvent(*self._within(stretch), label, 0.8))

    def _within(self, stretch: Stretch) -> tuple[int, int]:
        """Three seconds while the planted thing is there."""
        first, end = stretch.shown
        begin = int(self._random.integers(first, end - 2))
        start_ns = stretch.start_ns + begin * SECOND_NS
        return start_ns, start_ns + 3 * SECOND_NS
