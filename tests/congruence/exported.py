"""What exports are made of."""

from __future__ import annotations

import numpy as np
import pytest

from memdb import (
    Clip,
    Keyframe,
    Not,
    NotFound,
    SoundEvent,
    StoredClip,
    Utterance,
)
from memdb.types.database import Database, User
from tests.congruence.media import clip, vector

pytest.importorskip("pyarrow", reason="the extra memdb[export] is not installed")
pytest.importorskip("safetensors", reason="the extra memdb[export] is not installed")


def full_clip(seq: int) -> Clip:
    """A clip that carries something of everything."""
    made = np.random.default_rng(seq)
    return clip(
        seq,
        vector(1, seq).astype(np.float16 if seq % 2 else np.float32),
        short_memory=made.standard_normal((8, 4)).astype(np.float16),
        frames_per_token_row=0.25,
        transcript=(Utterance(1, 2, f"says {seq}", "Ann", "en"), Utterance(3, 4, "more")),
        events=(SoundEvent(1, 2, "dog", 0.5),),
        keyframes=(Keyframe(5, made.bytes(50)), Keyframe(6, b"b")),
        labels={"zone": "porch", "empty": ""},
    )


def said(clip: StoredClip, short: object) -> tuple[object, ...]:
    """All that a clip says, but its ids."""
    return (
        clip.stream, clip.epoch, clip.seq, clip.start_ns, clip.end_ns, clip.sealed,
        clip.frames_per_token_row, clip.transcript, clip.events, clip.keyframes, dict(clip.labels),
        str(clip.global_memory.dtype), clip.global_memory.tobytes(), short,
    )  # fmt: skip


def everything(user: User) -> tuple[object, ...]:
    """All that a user's memory says."""
    clips = user.clips()
    shorts: list[bytes | None] = []
    for item in clips:
        try:
            shorts.append(user.short_memory([item.id])[0].tobytes())
        except NotFound:
            shorts.append(None)
    numbers = {item.id: (item.stream, item.epoch, item.seq) for item in clips}
    facts = [
        [
            (
                f.text,
                f.about,
                f.key,
                f.valid_from_ns,
                f.valid_to_ns,
                [numbers[e] for e in f.evidence],
            )
            for f in user.history(fact.id)
        ]
        for fact in user.facts()
    ]
    streams = [(stream.name, stream.space, stream.zone) for stream in user.streams()]
    said_all = sorted(map(said, clips, shorts), key=repr)
    asked = [
        (
            (one.kind, one.space, one.text, one.window_s, one.sealed_only, one.name),
            (one.min_score, one.min_relevance, one.streams and sorted(one.streams)),
            (str(one.feature.dtype), one.feature.tolist()),
            (one.labels, one.hours, one.weekdays, one.zone),
            None if one.then_feature is None else one.then_feature.tolist(),
        )
        for one in user.standing.list()
    ]
    return said_all, facts, user.get("diet"), user.text_space(), streams, asked


def fill(db: Database, user: User) -> None:
    """Something of everything."""
    user.configure(text_space="clip")
    door = user.stream("door", space="clip")
    acks = [door.write(full_clip(seq)) for seq in range(5)]
    door.write(clip(5, sealed=False))
    door.write(clip(0, epoch=3))
    user.stream("empty", space="clip").create(zone="Asia/Kolkata")
    user.stream("yard", space="clip").write(clip(7))
    loose = user.remember("the mug is blue", about=["mug"], evidence=[acks[1].clip_id])
    user.revise(loose.id, text="the mug is red", valid_to=2 * 10**18)
    user.revise(loose.id, valid_to="open")
    user.remember("the mug is blue", about=["mug"], evidence=[acks[1].clip_id])
    user.remember("lives in Bern", key="home")
    user.remember("lives in Basel", key="home")
    user.forget(user.remember("nobody knows").id)
    user.put("password", "secret")
    user.remove("password")
    user.put("diet", "secret")
    user.remove("diet")
    for value in ({"n": 1}, {"n": 2}, {"n": 1}):
        user.put("diet", value)
    db.create_space("sound", dim=2, metric="dot")
    ask = user.standing.create
    ask(vector(1), min_score=0.5, text="the mug", window_s=2.5, name="mug")
    ask(vector(1), min_score=0.5, text="the mug", window_s=2.5)
    ask(
        vector(1).astype(np.float16),
        min_relevance=0.9,
        streams=["yard", "door"],
        space="clip",
        labels={"zone": ["porch", "drive"], "light": Not("day", "dusk")},
        hours=[("22:00", "06:30:15"), ("12:00", "24:00")],
        weekdays=["sun", "mon"],
        zone="Europe/Berlin",
    )
    ask(vector(1), min_score=-1, kind="sequence", then_feature=vector(0, 1), window_s=1e-3)
    ask(
        np.ones(2, np.float32),
        min_score=3,
        kind="absent",
        window_s=60,
        space="sound",
        sealed_only=False,
    )
