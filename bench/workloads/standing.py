"""10,000 standing questions of 1536 dimensions: what they add to a clip.

Nothing waits for them: a commit does not look at questions, a watch follows it.  So there are three figures:

``evaluate_ms``: time to find what one clip answers, clip by clip as a camera sends them, and in pages of 64 as a
watch that catches up has them; ``_cpu_`` the same in time of a processor, which other work on the machine does not
lengthen.  ``write_ms``: a durable write of one clip, embedded, alone and while a watch of another thread evaluates
each, in rounds that take turns.  ``heard_ms``: from before a write
to the alert in the hands of the watcher.

``one``: all questions are of one user, and each asks every stream.  ``streams``: of one user, who has 16 cameras, and
each asks one.  ``users``: 100 users have 100 each.  Of each, some alerts come for every clip.  ``absent``: as
``one``, and each waits for an hour without a match, which does not pass.  ``relevant``: of one user with 16 cameras,
each asks all of them, for a relevance.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace

import memdb
from bench import data
from bench.report import Result, Setup, median, percentile, result
from memdb import Clip
from memdb.engine.user import EmbeddedUser
from memdb.types.operation import CreateStanding
from memdb.types.standing import checked_standing

SPACE = "bench-1536"
MIN_SCORE = 0.68
"""A scene that comes back scores 0.67 or so: one in four of the questions on it is answered."""
MIN_RELEVANCE = 1 - 1e-6
"""As `MIN_SCORE`: of a scene that comes back, among 5 to 20 clips of a camera."""
ABSENT_S = 3600.0
PAGE_CLIPS = 64
CREATED_AT_ONCE = 256


def run(setup: Setup) -> Result:
    """Measure."""
    questions, clips, rounds = (200, 16, 1) if setup.quick else (10_000, 64, 4)
    figures: dict[str, float] = {}
    ratios: dict[str, float] = {}
    many = 10 if setup.quick else 100
    shapes = (
        ("one", 1, 1),
        ("streams", 1, 16),
        ("users", many, 1),
        ("absent", 1, 1),
        ("relevant", 1, 16),
    )
    for name, users, cameras in shapes:
        found = _shape(setup, name, questions, users, cameras, clips, rounds)
        figures |= {f"{figure}_{name}": value for figure, value in found.items()}
        ratios[f"write_watched_vs_alone_{name}"] = (
            found["write_ms_watched"] / found["write_ms_alone"]
        )
    config: dict[str, object] = {
        "dim": data.DIM,
        "questions": questions,
        "min_score": MIN_SCORE,
        "clips_of_a_round": clips,
        "rounds": rounds,
        "users_of_users": shapes[2][1],
        "cameras_of_streams": shapes[1][2],
    }
    return result("standing", setup, config, figures, ratios)


def _shape(
    setup: Setup, name: str, questions: int, users: int, cameras: int, clips: int, rounds: int
) -> dict[str, float]:
    features = data.vectors(setup.seed, questions, stream=1)
    vectors = data.vectors(setup.seed, 2 * clips * (rounds + 1), stream=2)
    relevant = name == "relevant"
    kind, window_s = ("absent", ABSENT_S) if name == "absent" else ("seen", None)
    with memdb.open(setup.folder / name) as db:
        space = db.create_space(SPACE, dim=data.DIM, model="bench")
        each = questions // users
        for number in range(users):
            user = db.user(f"user-{number}")
            names = [f"camera-{camera}" for camera in range(cameras)]
            for camera_name in names:
                user.stream(camera_name, space=SPACE).create()
            operations = [
                CreateStanding(
                    checked_standing(
                        features[number * each + place],
                        # At the smallest size there is no scene for most clips.
                        min_score=None if relevant else -1.0 if setup.quick else MIN_SCORE,
                        min_relevance=MIN_RELEVANCE if relevant else None,
                        kind=kind,
                        then_feature=None,
                        window_s=window_s,
                        streams=None if cameras == 1 or relevant else [names[place % cameras]],
                        space=None,
                        sealed_only=True,
                        text="",
                    ),
                    space,
                    0,
                    0,
                )
                for place in range(each)
            ]
            with user.memory() as memory:
                for begin in range(0, each, CREATED_AT_ONCE):
                    memory.write([*operations[begin : begin + CREATED_AT_ONCE]])
        cameras_of = [db.user(f"user-{number % users}") for number in range(users)]
        source = _Source(setup, vectors, cameras)
        alone: list[float] = []
        watched: list[float] = []
        heard: list[float] = []
        for _ in range(rounds):
            alone += source.write(cameras_of, clips)
            listener = _Listener(cameras_of)
            watched += source.write(cameras_of, clips, listener)
            heard += listener.end()
        figures = _evaluated(cameras_of, source, clips)
        return figures | {
            "write_ms_alone": median(alone),
            "write_ms_watched": median(watched),
            # Nothing is heard of what is not absent.
            **(
                {"heard_p50_ms": median(heard), "heard_p99_ms": percentile(heard, 99)}
                if heard
                else {}
            ),
        }


@dataclass
class _Source:
    """Clips in turns of users and cameras."""

    setup: Setup
    vectors: data.Vectors
    cameras: int
    taken: int = 0
    seqs: dict[tuple[str, str], int] = field(default_factory=dict)

    def next(self, users: list[EmbeddedUser]) -> tuple[EmbeddedUser, str, Clip]:
        """Who writes what next."""
        user = users[self.taken % len(users)]
        stream = f"camera-{self.taken % self.cameras}"
        seq = self.seqs[user.id, stream] = self.seqs.get((user.id, stream), -1) + 1
        vector = self.vectors[self.taken % len(self.vectors)]
        (clip,) = data.clips(self.setup.seed, vector[None], first_seq=seq, transcript=False)
        self.taken += 1
        end_ns = time.time_ns()  # of now, which is what an absence is counted by
        clip = replace(clip, global_memory=vector, start_ns=end_ns - data.CLIP_NS, end_ns=end_ns)
        return user, stream, clip

    def write(
        self, users: list[EmbeddedUser], clips: int, listener: _Listener | None = None
    ) -> list[float]:
        """Milliseconds of each write."""
        spent: list[float] = []
        for _ in range(clips):
            user, stream, clip = self.next(users)
            begin_s = time.perf_counter()
            if listener is not None:
                listener.began_s[user.id, stream, clip.start_ns] = begin_s
            user.stream(stream).write(clip)
            spent.append((time.perf_counter() - begin_s) * 1e3)
            # A camera sends clips apart from each other; one after the other they would be evaluated in pages.
            time.sleep(0.02)
        return spent


class _Listener:
    """A watch of every user, from now on, on a thread of its own."""

    def __init__(self, users: list[EmbeddedUser]) -> None:
        self.began_s: dict[tuple[str, str, int], float] = {}
        self._heard: dict[tuple[str, str, int], float] = {}
        self._ended = threading.Event()
        self._woken = threading.Event()
        self._watched = [(user, user.standing.watched()) for user in users]
        for _, watched in self._watched:
            while watched.page() or not watched.is_at_end:
                pass
        self._ends = [user.subscribe(lambda _: self._woken.set()) for user in users]
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        while not self._ended.is_set():
            self._woken.wait(0.5)
            self._woken.clear()
            for user, watched in self._watched:
                if watched.revision == user.revision():
                    continue
                for alert in watched.page():
                    place = user.id, alert.stream or "", alert.start_ns or 0
                    self._heard.setdefault(place, time.perf_counter())

    def end(self) -> list[float]:
        """Milliseconds from the begin of a write to its first alert."""
        # What the last writes have to tell may be on its way; what comes later is of no figure.
        time.sleep(0.2)
        self._ended.set()
        self._thread.join()
        for end in self._ends:
            end()
        return [(self._heard[p] - self.began_s[p]) * 1e3 for p in self._heard if p in self.began_s]


def _evaluated(users: list[EmbeddedUser], source: _Source, clips: int) -> dict[str, float]:
    """Time of a page for each of its clips."""
    spent: dict[str, list[float]] = {"single": [], "page": []}
    processor: dict[str, list[float]] = {"single": [], "page": []}
    alerts = 0
    watches = {user.id: user.standing.watched() for user in users}
    for watched in watches.values():
        while watched.page() or not watched.is_at_end:
            pass
    for kind, size in (("single", 1), ("page", PAGE_CLIPS)):
        for _ in range(clips if size == 1 else 4):
            user, stream, clip = source.next(users)
            batch = [clip]
            while len(batch) < size:
                later, place, clip = source.next(users)
                if (later.id, place) == (user.id, stream):
                    batch.append(clip)
            user.stream(stream).write_many(batch)
            begin_s, begin_cpu_s = time.perf_counter(), time.process_time()
            alerts += len(watches[user.id].page())
            processor[kind].append((time.process_time() - begin_cpu_s) / size * 1e3)
            spent[kind].append((time.perf_counter() - begin_s) / size * 1e3)
    evaluated = clips + 4 * PAGE_CLIPS
    figures = {f"evaluate_ms_{kind}": median(values) for kind, values in spent.items()}
    figures |= {f"evaluate_cpu_ms_{kind}": median(values) for kind, values in processor.items()}
    return figures | ({"alerts_per_clip": alerts / evaluated} if alerts else {})
