"""One epoch of a camera: one run of its source into one stream, from where the ledger says.

Event time of a recorded medium is ``start + media time``; ``start`` is given, or the moment of the
first ingest.  A stream that has clips of the epoch goes on after them: its first clip tells the
start, the end of the last sealed clip tells where in the medium to go on, the ledger the next
number.  What is made then is exactly what an ingest without interruption makes (see
`perception.assembler`).  A live source cannot be resumed: each run of it is an epoch of its own,
numbered by the second it began, also where it went away and came back (`perception.comeback`).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Final

from memdb.errors import DataLoss, FailedPrecondition, InvalidArgument, NotFound
from memdb.types.database import User
from memdb.types.space import Space
from memdb.types.times import as_text
from perception.camera import Camera
from perception.compressors.pooled import PooledCompressor
from perception.draft import ClipContext
from perception.ingest_options import IngestOptions
from perception.known_picture import KnownPicture
from perception.sources.base import NS_PER_S
from perception.sources.file import FileSource
from perception.spaces import IngestSpaces

CLIPS_LOOKED_AT: Final = 64
"""Of all epochs, at the moment up to which one holds clips."""
BESIDE_NS: Final = 30 * NS_PER_S
"""A camera that is watched has had a clip, or a revision of one, within less."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """What is read, and what its clips begin with."""

    source: FileSource
    """Open."""
    space: Space
    context: ClipContext
    """Has the epoch's number and the event time of media time 0."""
    first_seq: int = 0
    from_ns: int = 0
    """Media time from which on it is read."""
    held_until_ns: int | None = None
    """Event time at which the clips end that it holds; None where it holds none."""
    known: KnownPicture | None = None
    """Of what it holds, where a recording goes on with it."""
    beside: int | None = None
    """Another epoch of a live camera, which had a clip a moment ago; None where there is none."""


def epoch_from_ledger(
    user: User,
    camera: Camera,
    source: FileSource,
    spaces: IngestSpaces,
    options: IngestOptions,
) -> Epoch:
    """The epoch that ``options`` name, after what its ledger holds.

    Raises `FailedPrecondition` (``EPOCH_REUSED``) for a live source whose epoch has clips, `InvalidArgument`
    (``START_MISMATCH``) for another start than the epoch's, as `IngestSpaces.of_sounds`, and what the database
    raises.
    """
    space = spaces.of_pictures
    if space is None or not source.has_video:
        space = spaces.of_sounds()
    number = options.epoch
    if number is None:
        number = int(time.time()) if source.is_live else 0
    stream = user.stream(camera.name, space=space.name)
    if options.zone is not None:
        stream.create(zone=options.zone)
    ledger = stream.ledger(epoch=number)
    if source.is_live and ledger.clips:
        raise FailedPrecondition(
            "a live source cannot go on with an epoch; leave it out, or give a new one",
            reason="EPOCH_REUSED",
            field="epoch",
            value=number,
        )
    start_ns = options.start_ns if options.start_ns is not None else time.time_ns()
    from_ns = 0
    held_until_ns = ledger.last_end_ns if ledger.next_seq > 0 else None
    if ledger.first_start_ns is not None:
        if options.start_ns not in (None, ledger.first_start_ns):
            raise InvalidArgument(
                f"{camera.name} began epoch {number} at {as_text(ledger.first_start_ns)}: "
                "give that start or none, or another epoch",
                reason="START_MISMATCH",
                field="start",
                value=as_text(start_ns),
            )
        start_ns = ledger.first_start_ns
        if held_until_ns is not None:
            from_ns = held_until_ns - start_ns
    context = ClipContext(
        start_ns,
        source.period_ns,
        number,
        PooledCompressor(),
        spaces.text_encoder,
        options.labels,
    )
    beside = _epoch_beside(user, camera.name, number) if source.is_live else None
    known = None
    if held_until_ns is not None and source.has_video:
        known = _known_picture(user, camera.name, context, held_until_ns)
    return Epoch(source, space, context, ledger.next_seq, from_ns, held_until_ns, known, beside)


def _known_picture(
    user: User, stream: str, context: ClipContext, held_until_ns: int
) -> KnownPicture | None:
    """Of the newest clip that is held of an epoch, where that still shows one."""
    try:
        newest = user.clips(
            stream=stream,
            start_ns=held_until_ns - 1,
            end_ns=held_until_ns,
            newest_first=True,
            limit=CLIPS_LOOKED_AT,
            with_global_memory=False,
        )
    except (NotFound, DataLoss):
        return None  # as below: it was given up, or cannot be read
    for clip in newest:
        if clip.epoch == context.epoch and clip.sealed:
            return KnownPicture.of_clip(clip, context.base_ns, context.period_ns)
    return None


def _epoch_beside(user: User, stream: str, number: int) -> int | None:
    """Of the newest clip, where that is of now and of another epoch: its agent may still run."""
    try:
        newest = user.clips(
            stream=stream,
            limit=1,
            newest_first=True,
            with_global_memory=False,
            with_keyframes=False,
        )
    except (NotFound, DataLoss):
        # No clips yet, or one that cannot be read: neither keeps a camera from being watched.
        return None
    for clip in newest:
        if clip.epoch != number and abs(time.time_ns() - clip.end_ns) < BESIDE_NS:
            return clip.epoch
    return None


def epoch_from_now(before: Epoch, source: FileSource) -> Epoch:
    """The next epoch of a live source that came back as ``source``."""
    # The clock may have been set back; a number that was used is not used again.
    number = max(before.context.epoch + 1, int(time.time()))
    context = replace(before.context, base_ns=time.time_ns(), epoch=number)
    return Epoch(source, before.space, context)
