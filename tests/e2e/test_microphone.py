"""A microphone or a recording alone, without pictures: what is said is remembered and found.

Real sound through the real voice activity and text encoder; what transcribes is Whisper where words are asked for,
and a hash of its input where every sample counts.
"""

from __future__ import annotations

import itertools
import json
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import memdb
from memdb import FailedPrecondition, InvalidArgument
from memdb.types.clip import StoredClip
from memdb.types.database import Database
from perception.agent import IngestAgent
from perception.audio.hearing import Hearing
from perception.audio.vad import VoiceActivity
from perception.camera import Camera, CameraReport
from perception.encoders.text import BundledTextEncoder
from perception.errors import WeightsUnavailable
from perception.ingest_options import IngestOptions
from perception.sources.base import AUDIO_RATE_HZ, NS_PER_S, Samples
from perception.weights import fetch, fetch_many
from reasoner.questions import SAID
from reasoner.reasoner import Reasoner
from tests.e2e.serving import serving
from tests.forked.command import run_command
from tests.unit.perception.fakes import HashEncoder, hashed_words
from tests.unit.perception.films import flat, speech, write_film

pytestmark = [pytest.mark.e2e, pytest.mark.weights, pytest.mark.timeout(240)]

START = "2026-03-01T09:00:00Z"
START_NS = 1_772_355_600 * NS_PER_S


def write_wave(path: Path, samples: Samples) -> Path:
    with wave.open(str(path), "wb") as output:
        output.setnchannels(1)
        output.setsampwidth(2)
        output.setframerate(AUDIO_RATE_HZ)
        output.writeframes((samples * 32_767).astype("<i2").tobytes())
    return path


def silence(seconds: float) -> Samples:
    return np.zeros(round(seconds * AUDIO_RATE_HZ), np.float32)


@pytest.fixture(scope="module")
def talk() -> Samples:
    """Six short phrases, a long silence, a quarter of a minute of a talk without pauses."""
    try:
        fetch_many(["silero-vad", "minilm-l6-v2", "moonshine-voice/beckett.wav"])
        novel = speech("two_cities.wav")[: 19 * AUDIO_RATE_HZ]
        return np.concatenate([silence(1), speech("beckett.wav"), silence(12), novel, silence(2.5)])
    except WeightsUnavailable as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def hearing(talk: Samples) -> Hearing:
    return Hearing(VoiceActivity(fetch("silero-vad")), hashed_words)


class Broken(Exception):
    """Stands for whatever ends an agent in the middle."""


def ingest(
    database: Database, hearing: Hearing | None, address: object, **options: Any
) -> CameraReport:
    (report,) = IngestAgent(
        database, "mia", [Camera("desk", str(address))], None, hearing,
        IngestOptions(**({"start_ns": START_NS} | options)), report_line=lambda _: None,
    ).run()  # fmt: skip
    return report


def content(clips: list[StoredClip]) -> list[tuple[Any, ...]]:
    return [
        (
            clip.seq,
            clip.start_ns,
            clip.end_ns,
            clip.sealed,
            clip.transcript,
            dict(clip.labels),
            clip.global_memory.tobytes(),
        )
        for clip in clips
    ]


def test_what_is_said_is_heard_and_asked_for(talk: Samples, tmp_path: Path) -> None:
    path = write_wave(tmp_path / "talk.wav", talk[: 14 * AUDIO_RATE_HZ])
    with serving(tmp_path / "data") as served:
        done = run_command(
            "perception.cli",
            *("--server", served.address, "--user", "mia", "--camera", f"desk={path}"),
            *("--start", START, "--label", "zone=office"),
            timeout_s=200,
        )
        assert done.returncode == 0, done.stderr
        (camera,) = json.loads(done.stdout)["cameras"]
        assert (camera["clips"], camera["acks"], camera["frames"]) == (1, 1, 0)
        assert (camera["utterances"], camera["error"]) == (6, None)
        user = served.database.user("mia")
        (clip,) = user.clips()
        assert (clip.start_ns, clip.end_ns) == (START_NS, START_NS + 14 * NS_PER_S)
        assert clip.labels == {"medium": "sound", "zone": "office"}
        assert [item.text for item in clip.transcript][-1].lower().startswith("fail better")
        encoder = BundledTextEncoder()
        answer = Reasoner(user, served.database.space("bundled"), encoder).ask(
            "Who spoke about failing better?"
        )
        assert answer.moment is not None
        assert (answer.moment.arm, answer.moment.camera) == (SAID, "desk")
        assert answer.moment.said == ("Fail better.",)
        assert START_NS + 8 * NS_PER_S < answer.moment.start_ns < START_NS + 10 * NS_PER_S
        # By its vector alone, as any clip is: it is that of what was said.
        (hit,) = user.ground(encoder.encode(["attempts and failure"])[0]).hits
        assert hit.score > 0.3
        # Nobody saw anything there.
        unseen = Reasoner(user, served.database.space("bundled"), encoder).ask("Was there a cat?")
        assert {item.arm for item in unseen.evidence} == {SAID}
        assert unseen.moment is None


def test_sound_is_cut_by_what_is_said(
    database: Database, hearing: Hearing, talk: Samples, tmp_path: Path
) -> None:
    report = ingest(database, hearing, write_wave(tmp_path / "talk.wav", talk))
    assert (report.error, report.progress.frames) == (None, 0)
    clips = database.user("mia").clips()
    assert report.progress.clips == report.progress.acks == len(clips)
    # No hole, no sample twice, to the last.
    assert clips[0].start_ns == START_NS
    assert all(one.end_ns == other.start_ns for one, other in itertools.pairwise(clips))
    assert clips[-1].end_ns == START_NS + len(talk) * NS_PER_S // AUDIO_RATE_HZ
    lengths_s = [(clip.end_ns - clip.start_ns) / NS_PER_S for clip in clips]
    assert all(3 <= length <= 16 for length in lengths_s[:-1])
    assert lengths_s[0] == 16
    # Who speaks after a pause begins a clip; nobody spoke in the one before.
    assert [len(clip.transcript) for clip in clips[:2]] == [6, 0]
    assert clips[2].start_ns == clips[2].transcript[0].start_ns < START_NS + 32 * NS_PER_S
    spoken = [item for clip in clips for item in clip.transcript]
    assert len(spoken) == report.progress.utterances == len({item.text for item in spoken})
    assert database.user("mia").stream("desk").gaps() == []


def test_a_broken_hearing_resumes_to_the_same_memory(
    tmp_path: Path, hearing: Hearing, talk: Samples
) -> None:
    path = write_wave(tmp_path / "talk.wav", talk)
    with memdb.open(tmp_path / "whole") as database:
        ingest(database, hearing, path)
        expected = content(database.user("mia").clips())
    heard = itertools.count()
    at_utterance = 8

    def breaks(samples: Samples, language: str) -> str:
        if next(heard) == at_utterance:
            raise Broken
        return hashed_words(samples)

    with memdb.open(tmp_path / "broken") as database:
        broken = ingest(database, Hearing(hearing.network, breaks), path)
        assert isinstance(broken.error, Broken)
        start_ns = None if broken.progress.acks else START_NS
        resumed = ingest(database, hearing, path, start_ns=start_ns)
        assert resumed.error is None
        assert content(database.user("mia").clips()) == expected
        assert database.user("mia").stream("desk").gaps() == []
        again = ingest(database, hearing, path, start_ns=None)
        assert (again.progress.clips, again.note is None) == (0, False)


def test_cameras_and_microphones_side_by_side(
    database: Database, hearing: Hearing, talk: Samples, tmp_path: Path
) -> None:
    film = write_film(tmp_path / "film.mp4", [(flat(200, 20, 20), 4.0)])
    sound = write_wave(tmp_path / "talk.wav", talk[: 4 * AUDIO_RATE_HZ])
    cameras = [Camera("porch", str(film)), Camera("desk", str(sound))]
    reports = IngestAgent(
        database, "mia", cameras, HashEncoder(), hearing, IngestOptions(start_ns=START_NS),
        report_line=lambda _: None,
    ).run()  # fmt: skip
    assert [(report.error, report.progress.clips) for report in reports] == [(None, 1)] * 2
    spaces = {info.name: info.space for info in database.user("mia").streams()}
    # What is heard is in the space of the user's texts, whatever sees.
    assert spaces == {"porch": "hashed", "desk": "bundled"}


def test_sound_that_cannot_be_remembered_is_refused(
    database: Database, hearing: Hearing, talk: Samples, tmp_path: Path
) -> None:
    path = write_wave(tmp_path / "talk.wav", talk[:AUDIO_RATE_HZ])
    with pytest.raises(InvalidArgument) as caught:
        ingest(database, hearing, path, labels={"medium": "radio"})
    assert (caught.value.reason, caught.value.field) == ("NOT_USED", "label")
    with pytest.raises(InvalidArgument) as unheard:
        ingest(database, None, path)
    assert unheard.value.reason == "NO_VIDEO"
    database.create_space("foreign", dim=8, model="nobody:has@1")
    database.user("mia").configure(text_space="foreign")
    with pytest.raises(FailedPrecondition) as without:
        ingest(database, hearing, path)
    assert without.value.reason == "ENCODER_MISSING"
