"""Cameras into an embedded database: several at once, broken off and resumed, wrong set-ups.

The pictures and the sound are real and go through the real reading, voice activity and assembling.
What sees and what transcribes answers with hashes of its input, which is stricter than any network:
one other pixel or sample after a resume would change the clip.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import memdb
from memdb import AlreadyExists, Clip, FailedPrecondition, InvalidArgument, StoredClip
from memdb.types.database import Database
from perception.agent import IngestAgent
from perception.audio.hearing import Hearing
from perception.audio.vad import VoiceActivity
from perception.camera import Camera, CameraReport
from perception.encoders.base import Frame, FrameFeatures
from perception.errors import SourceNotFound, WeightsUnavailable
from perception.ingest_options import IngestOptions
from perception.sources.base import NS_PER_S, Samples
from perception.weights import fetch
from tests.unit.perception.fakes import HashEncoder, hashed_words
from tests.unit.perception.films import SOUND_RATE_HZ, flat, photo, speech, write_film

pytestmark = [pytest.mark.e2e, pytest.mark.weights]

START_NS = 1_700_000_000 * NS_PER_S
CUTS_S = (5, 4, 7, 3, 5)


@pytest.fixture(scope="module")
def hearing() -> Hearing:
    try:
        return Hearing(VoiceActivity(fetch("silero-vad")), hashed_words)
    except WeightsUnavailable as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 s of five scenes under 24 s of speech that runs over the cuts."""
    colours = [flat(200, 20, 20), flat(20, 200, 20), flat(20, 20, 200)]
    scenes = [(colours[i % 3], float(seconds)) for i, seconds in enumerate(CUTS_S)]
    phrases = speech("two_cities.wav", SOUND_RATE_HZ)[: 14 * SOUND_RATE_HZ]
    sound = np.concatenate([phrases, speech("beckett.wav", SOUND_RATE_HZ)])
    return write_film(tmp_path_factory.mktemp("film") / "film.mp4", scenes, sound)


def ingest(
    database: Database,
    hearing: Hearing | None,
    *cameras: Camera,
    encoder: HashEncoder | None = None,
    **options: Any,
) -> list[CameraReport]:
    settings = IngestOptions(**({"start_ns": START_NS} | options))
    agent = IngestAgent(
        database, "alice", cameras, encoder or HashEncoder(), hearing, settings,
        report_line=lambda _: None,
    )  # fmt: skip
    return agent.run()


def stored(database: Database, stream: str = "porch") -> list[StoredClip]:
    return database.user("alice").clips(stream=stream)


def content(database: Database, stream: str = "porch") -> list[tuple[Any, ...]]:
    """Everything of every clip that is not given by the store."""
    user = database.user("alice")
    clips = stored(database, stream)
    short = user.short_memory([clip.id for clip in clips])
    return [
        (
            clip.seq,
            clip.start_ns,
            clip.end_ns,
            clip.sealed,
            clip.transcript,
            dict(clip.labels),
            clip.keyframes,
            clip.global_memory.tobytes(),
            np.asarray(tokens).tobytes(),
        )
        for clip, tokens in zip(clips, short, strict=True)
    ]


def test_a_film_becomes_clips(database: Database, hearing: Hearing, film: Path) -> None:
    (report,) = ingest(database, hearing, Camera("porch", str(film)))
    assert report.error is None
    clips = stored(database)
    lengths_s = [(clip.end_ns - clip.start_ns) // NS_PER_S for clip in clips]
    assert lengths_s == list(CUTS_S)
    assert clips[0].start_ns == START_NS
    assert all(clip.sealed for clip in clips)
    assert report.progress.clips == len(clips)
    assert report.progress.acks == len(clips)
    spoken = [utterance for clip in clips for utterance in clip.transcript]
    assert len(spoken) == report.progress.utterances >= 8
    for before, clip in pairwise(clips):
        assert before.end_ns == clip.start_ns
        for utterance in clip.transcript:
            assert utterance.start_ns + utterance.end_ns >= 2 * clip.start_ns


def test_a_camera_has_options_of_its_own(database: Database, hearing: Hearing, film: Path) -> None:
    own = IngestOptions(
        start_ns=START_NS + NS_PER_S, epoch=3, rate_hz=2.0, with_audio=False, revise_every=0,
        zone="Europe/Berlin", labels={"zone": "yard"}, codec="plain",
    )  # fmt: skip
    cameras = [Camera("porch", str(film)), Camera("yard", str(film), own)]
    porch, yard = ingest(database, hearing, *cameras, rate_hz=1.0)
    assert (porch.error, yard.error) == (None, None)
    assert (porch.epoch, yard.epoch) == (0, 3)
    assert (porch.progress.frames, yard.progress.frames) == (sum(CUTS_S), 2 * sum(CUTS_S))
    assert porch.progress.utterances >= 8
    assert yard.progress.utterances == 0
    assert stored(database, "yard")[0].start_ns == START_NS + NS_PER_S
    assert {clip.labels.get("zone") for clip in stored(database, "yard")} == {"yard"}
    assert {clip.labels.get("zone") for clip in stored(database)} == {None}
    streams = {stream.name: stream for stream in database.user("alice").streams()}
    assert (streams["porch"].zone, streams["yard"].zone) == ("UTC", "Europe/Berlin")


def test_a_camera_has_a_language_and_a_rule_of_its_own(
    database: Database, hearing: Hearing, film: Path
) -> None:
    spoken: set[str] = set()

    def heard(samples: Samples, language: str) -> str:
        spoken.add(language)
        return hashed_words(samples)

    german = IngestOptions(start_ns=START_NS, language="de", scene=-1.0)
    cameras = [Camera("porch", str(film)), Camera("yard", str(film), german)]
    porch, yard = ingest(database, Hearing(hearing.network, heard), *cameras)
    assert (porch.error, yard.error) == (None, None)
    assert spoken == {"en", "de"}
    for stream, language in (("porch", "en"), ("yard", "de")):
        clips = stored(database, stream)
        assert {said.language for clip in clips for said in clip.transcript} == {language}
    # Whatever is seen, clips are as long as they may be.
    lengths_s = [(clip.end_ns - clip.start_ns) // NS_PER_S for clip in stored(database, "yard")]
    assert set(lengths_s[:-1]) == {16}


def test_clips_have_the_labels_of_the_ingest(database: Database, tmp_path: Path) -> None:
    film = write_film(tmp_path / "one.mp4", [(flat(200, 20, 20), 4.0), (flat(20, 200, 20), 4.0)])
    ingest(database, None, Camera("porch", str(film)), labels={"zone": "porch"})
    ingest(database, None, Camera("yard", str(film)))
    user = database.user("alice")
    assert {clip.stream for clip in user.clips(labels={"zone": "porch"})} == {"porch"}
    assert {clip.labels["zone"] for clip in user.clips(stream="porch")} == {"porch"}
    assert not any("zone" in clip.labels for clip in user.clips(stream="yard"))


def test_an_epoch_that_holds_all_of_a_recording_is_told(database: Database, tmp_path: Path) -> None:
    """It may be other footage that looks the same: of a camera that does not move, on another day."""
    scenes = [(flat(200, 20, 20), 4.0), (flat(20, 200, 20), 4.0)]
    one = write_film(tmp_path / "one.mp4", scenes)
    two = write_film(tmp_path / "two.mp4", scenes, coarseness=30)
    (first,) = ingest(database, None, Camera("porch", str(one)))
    assert first.note is None
    lines: list[str] = []
    agent = IngestAgent(
        database, "alice", [Camera("porch", str(two))], HashEncoder(), None,
        IngestOptions(start_ns=START_NS), report_line=lines.append,
    )  # fmt: skip
    (second,) = agent.run()
    assert (second.error, second.progress.clips) == (None, 0)
    assert second.note == (
        "porch: epoch 0 already holds 2 clips up to 2023-11-14T22:13:28.000Z; "
        f"nothing new in {two}; for other footage use --epoch N"
    )
    assert lines.count(second.note) == 1
    (third,) = ingest(database, None, Camera("porch", str(two)), epoch=1)
    assert (third.note, third.progress.clips) == (None, 2)


@pytest.mark.parametrize(
    "seconds", [3.0, 6.0, 8.0, 12.0], ids=["ends_before", "shorter", "as_long", "longer"]
)
def test_other_footage_is_no_continuation(
    database: Database, tmp_path: Path, seconds: float
) -> None:
    """What it shows from there on would be told as if it had followed on what another recording showed."""
    one = write_film(tmp_path / "one.mp4", [(flat(200, 20, 20), 4.0), (flat(20, 200, 20), 4.0)])
    two = write_film(tmp_path / "two.mp4", [(flat(20, 20, 200), seconds)])
    ingest(database, None, Camera("porch", str(one)))
    before = content(database)
    (other,) = ingest(database, None, Camera("porch", str(two)), start_ns=None)
    assert isinstance(other.error, FailedPrecondition)
    assert (other.error.reason, other.error.field, other.error.value) == (
        "OTHER_RECORDING",
        "epoch",
        "0",
    )
    assert "--epoch N" in other.error.message
    assert content(database) == before
    (third,) = ingest(database, None, Camera("porch", str(two)), epoch=1)
    assert (third.error, third.progress.clips) == (None, 1)


def test_a_recording_that_was_encoded_anew_goes_on(database: Database, tmp_path: Path) -> None:
    """Coarser, in another container, and longer by what came meanwhile."""
    scenes = [(photo("astronaut.png"), 4.0), (photo("coffee.png"), 4.0)]
    one = write_film(tmp_path / "one.mp4", scenes)
    again = write_film(
        tmp_path / "again.mkv",
        [*scenes, (flat(20, 20, 200), 4.0)],
        container="matroska",
        coarseness=40,
    )
    (first,) = ingest(database, None, Camera("porch", str(one)))
    (report,) = ingest(database, None, Camera("porch", str(again)), start_ns=None)
    assert report.error is None
    assert (report.resumed_from_seq, report.progress.clips) == (first.progress.clips, 1)


def test_another_ingest_of_the_same_camera_is_told_with_what_to_do(
    database: Database, tmp_path: Path
) -> None:
    """Two agents were given one camera's name; whoever gave it knows of epochs, and nothing of numbers."""
    one = write_film(tmp_path / "one.mp4", [(flat(200, 20, 20), 4.0), (flat(20, 200, 20), 4.0)])
    two = write_film(tmp_path / "two.mp4", [(flat(20, 20, 200), 4.0), (flat(200, 20, 20), 4.0)])
    others: list[CameraReport] = []

    class Overtaken(HashEncoder):
        def encode_frames(self, frames: Sequence[Frame]) -> FrameFeatures:
            if not others:
                others.extend(ingest(database, None, Camera("porch", str(two))))
            return super().encode_frames(frames)

    (report,) = ingest(database, None, Camera("porch", str(one)), encoder=Overtaken())
    assert [other.error for other in others] == [None]
    assert isinstance(report.error, AlreadyExists)
    assert (report.error.reason, report.error.field) == ("SEQ_REUSED", "clip.seq")
    assert "another ingest writes it" in report.error.message
    assert "--epoch N" in report.error.message


def test_a_beginning_that_is_passed_over_is_told(database: Database, tmp_path: Path) -> None:
    """Longer footage than the first, without a number of its own, may be other footage, and look the same there."""
    one = write_film(tmp_path / "one.mp4", [(flat(200, 20, 20), 4.0)])
    two = write_film(tmp_path / "two.mp4", [(flat(200, 20, 20), 4.0), (flat(20, 20, 200), 2.0)])
    lines: list[str] = []
    for path in (one, two):
        agent = IngestAgent(
            database, "alice", [Camera("porch", str(path))], HashEncoder(), None,
            IngestOptions(start_ns=START_NS), report_line=lines.append,
        )  # fmt: skip
        agent.run()
    assert [line for line in lines if "goes on" in line] == [
        "porch: epoch 0 holds 1 clips up to 2023-11-14T22:13:24.000Z; "
        f"goes on at 4.0 s of {two}; other footage needs --epoch N"
    ]


class Break(Exception):
    """Stands for whatever ends an agent in the middle."""


class BreakingEncoder(HashEncoder):
    """Fails at a given frame."""

    def __init__(self, at_frame: int) -> None:
        super().__init__()
        self._left = at_frame

    def encode_frames(self, frames: Any) -> FrameFeatures:
        self._left -= 1
        if self._left < 0:
            raise Break
        return super().encode_frames(frames)


@pytest.fixture(scope="module")
def expected(
    tmp_path_factory: pytest.TempPathFactory, hearing: Hearing, film: Path
) -> list[tuple[Any, ...]]:
    """What an ingest of the film that nothing breaks leaves."""
    with memdb.open(tmp_path_factory.mktemp("whole") / "data") as database:
        ingest(database, hearing, Camera("porch", str(film)))
        return content(database)


@pytest.mark.parametrize("at_frame", [2, 7, 10, 18, 23])
def test_a_broken_ingest_resumes_to_the_same_memory(
    tmp_path: Path, hearing: Hearing, film: Path, expected: list[tuple[Any, ...]], at_frame: int
) -> None:
    camera = Camera("porch", str(film))
    with memdb.open(tmp_path / "broken") as database:
        (broken,) = ingest(database, hearing, camera, encoder=BreakingEncoder(at_frame))
        assert isinstance(broken.error, Break)
        # As after a crash: what follows knows only what the database knows.
        start_ns = None if broken.progress.acks else START_NS
        (resumed,) = ingest(database, hearing, camera, start_ns=start_ns)
        assert resumed.error is None
        assert resumed.start_ns == START_NS
        assert content(database) == expected
        assert database.user("alice").stream("porch").gaps() == []
        assert database.verify().ok


def test_an_ingest_that_was_complete_adds_nothing(
    database: Database, hearing: Hearing, film: Path
) -> None:
    camera = Camera("porch", str(film))
    ingest(database, hearing, camera)
    before = content(database), database.user("alice").revision()
    (report,) = ingest(database, hearing, camera)
    assert (report.progress.clips, report.resumed_from_seq) == (0, len(CUTS_S))
    assert (content(database), database.user("alice").revision()) == before


def test_a_stopped_ingest_resumes(database: Database, film: Path) -> None:
    camera = Camera("porch", str(film))
    settings = IngestOptions(start_ns=START_NS, is_paced=True, rate_hz=4.0)
    agent = IngestAgent(
        database, "alice", [camera], HashEncoder(), None, settings, report_line=lambda _: None
    )
    timer = threading.Timer(2.5, agent.stop)
    timer.start()
    (report,) = agent.run()
    timer.join()
    assert report.error is None
    assert report.progress.media_ns < 10 * NS_PER_S
    ingest(database, None, camera, rate_hz=4.0)
    clips = stored(database)
    assert [clip.seq for clip in clips] == list(range(len(clips)))
    assert clips[-1].end_ns == START_NS + sum(CUTS_S) * NS_PER_S


def test_cameras_do_not_disturb_each_other(
    database: Database, hearing: Hearing, film: Path, tmp_path: Path
) -> None:
    silent = write_film(tmp_path / "silent.mp4", [(flat(9, 9, 90), 6.0)])
    broken = tmp_path / "broken.mp4"
    # Its index stands at the end: it opens, and breaks off while it is read.
    whole = film.read_bytes()
    middle = len(whole) // 3
    broken.write_bytes(whole[:middle] + bytes(20_000) + whole[middle + 20_000 :])
    cameras = [Camera("porch", str(film)), Camera("study", str(silent)), Camera("bad", str(broken))]
    porch, study, _ = ingest(database, hearing, *cameras)
    assert porch.error is None
    assert study.error is None
    assert len(stored(database)) == len(CUTS_S)
    assert stored(database, "study")[0].end_ns == START_NS + 6 * NS_PER_S


def test_acknowledged_clips_are_told_in_order(
    database: Database, hearing: Hearing, film: Path
) -> None:
    told: list[tuple[str, int]] = []

    def tell(camera: str, clip: Clip) -> None:
        told.append((camera, clip.seq))

    settings = IngestOptions(start_ns=START_NS, revise_every=0)
    IngestAgent(
        database, "alice", [Camera("porch", str(film))], HashEncoder(), hearing, settings,
        report_line=lambda _: None, on_ack=tell,
    ).run()  # fmt: skip
    assert told == [("porch", seq) for seq in range(len(CUTS_S))]


def test_another_start_than_the_first_is_refused(database: Database, film: Path) -> None:
    camera = Camera("porch", str(film))
    ingest(database, None, camera)
    with pytest.raises(InvalidArgument) as caught:
        ingest(database, None, camera, start_ns=START_NS + 1)
    assert (caught.value.reason, caught.value.field) == ("START_MISMATCH", "start")
    ingest(database, None, camera, start_ns=START_NS + 100 * NS_PER_S, epoch=1)
    assert len(stored(database)) == 2 * len(CUTS_S)


def test_a_space_of_another_model_is_refused(database: Database, film: Path) -> None:
    database.create_space("hashed", dim=16, model="another:model@2")
    with pytest.raises(AlreadyExists):
        ingest(database, None, Camera("porch", str(film)))


def test_a_stream_of_another_space_is_refused(database: Database, film: Path) -> None:
    database.create_space("other", dim=16)
    database.user("alice").stream("porch", space="other").create()
    (report,) = ingest(database, None, Camera("porch", str(film)))
    assert isinstance(report.error, FailedPrecondition)


def test_the_zone_of_the_cameras(database: Database, film: Path) -> None:
    camera = Camera("porch", str(film))
    ingest(database, None, camera, zone="Europe/Berlin")
    ingest(database, None, camera, epoch=1)  # keeps it

    assert [info.zone for info in database.user("alice").streams()] == ["Europe/Berlin"]
    with pytest.raises(FailedPrecondition) as caught:
        ingest(database, None, camera, epoch=2, zone="Asia/Tokyo")
    assert caught.value.reason == "ZONE_MISMATCH"


def test_wrong_cameras_are_refused(database: Database, film: Path) -> None:
    for cameras in ([], [Camera("porch", str(film))] * 2, [Camera("no name", str(film))]):
        with pytest.raises(InvalidArgument):
            ingest(database, None, *cameras)
    with pytest.raises(SourceNotFound):
        ingest(database, None, Camera("porch", str(film)), Camera("study", "/nowhere.mp4"))
