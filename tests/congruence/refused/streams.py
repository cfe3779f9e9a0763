"""Streams, and what is written to them clip after clip."""

from __future__ import annotations

from memdb import FailedPrecondition, InvalidArgument, NotFound
from tests.congruence.media import clip
from tests.congruence.refused.bad import Bad, send

STREAMS: list[Bad] = [
    Bad(
        "stream.name",
        lambda db, user: user.stream(".hidden").create(),
        InvalidArgument,
        "BAD_ID",
        "stream",
        ".hidden",
    ),
    Bad(
        "stream.space",
        lambda db, user: user.stream("a", space="a b"),
        InvalidArgument,
        "BAD_ID",
        "space",
        "a b",
    ),
    Bad(
        "stream.zone",
        lambda db, user: user.stream("a", space="clip").create(zone="Europe/Atlantis"),
        InvalidArgument,
        "BAD_ZONE",
        "zone",
        "Europe/Atlantis",
    ),
    Bad(
        "stream.zone.other",
        lambda db, user: user.stream("door").create(zone="Europe/Berlin"),
        FailedPrecondition,
        "ZONE_MISMATCH",
        "zone",
        "Europe/Berlin",
    ),
    Bad(
        "user.write",
        lambda db, user: db.user("nobody").stream("a").write(clip(0)),
        NotFound,
        "USER_NOT_FOUND",
        "user",
        "nobody",
    ),
    Bad(
        "stream.write",
        lambda db, user: user.stream("nope").write(clip(0)),
        NotFound,
        "STREAM_NOT_FOUND",
        "stream",
        "nope",
    ),
    Bad(
        "stream.read",
        lambda db, user: user.clips(stream="nope"),
        NotFound,
        "STREAM_NOT_FOUND",
        "stream",
        "nope",
    ),
    Bad(
        "stream.gaps",
        lambda db, user: user.stream("nope").gaps(),
        NotFound,
        "STREAM_NOT_FOUND",
        "stream",
        "nope",
    ),
    Bad(
        "space.write",
        lambda db, user: user.stream("x", space="nope").write(clip(0)),
        NotFound,
        "SPACE_NOT_FOUND",
        "space",
        "nope",
    ),
    Bad(
        "codec",
        lambda db, user: user.stream("door", space="clip", codec="mp3"),
        InvalidArgument,
        "BAD_CODEC",
        "codec",
        "mp3",
    ),
    Bad(
        "space.other",
        lambda db, user: user.stream("door", space="five").write(clip(1)),
        FailedPrecondition,
        "SPACE_MISMATCH",
        "space",
        "five",
    ),
    Bad(
        "window",
        lambda db, user: user.stream("door").ingest(window=0),
        InvalidArgument,
        "OUT_OF_RANGE",
        "window",
        "0",
    ),
    Bad(
        "epoch",
        lambda db, user: user.stream("door").ledger(epoch=-1),
        InvalidArgument,
        "OUT_OF_RANGE",
        "epoch",
        "-1",
    ),
    Bad("send", lambda db, user: send(user, "x"), InvalidArgument, "BAD_TYPE", "clip", "str"),
    Bad(
        "send.epoch",
        lambda db, user: send(user, clip(5, epoch=7)),
        InvalidArgument,
        "EPOCH_MISMATCH",
        "clip.epoch",
        "7",
    ),
]
