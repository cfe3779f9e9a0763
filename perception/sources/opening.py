"""Opening the sources of cameras: all of them at the start, one that was absent later, one that came back again."""

from __future__ import annotations

from collections.abc import Sequence

from memdb.errors import InvalidArgument, MemdbError
from memdb.types.ids import check_id
from perception.camera import Camera
from perception.errors import SourceNotFound, SourceUnreadable
from perception.ingest_options import IngestOptions
from perception.sources.address import may_appear, shown
from perception.sources.file import FileSource


def open_sources(
    cameras: Sequence[Camera], common: IngestOptions, *, with_audio: bool
) -> tuple[dict[Camera, FileSource], dict[Camera, MemdbError]]:
    """Every camera's source, open, and why others are not.

    What is live, or elsewhere, may be absent where it is tried again.  common: for cameras without options of their
    own.  with_audio: whether there is what hears.  Raises `InvalidArgument` for a bad or doubled name, and as
    `FileSource`; then none stays open.
    """
    names = [check_id(camera.name, "camera") for camera in cameras]
    doubled = [name for index, name in enumerate(names) if name in names[:index]]
    if not names or doubled:
        raise InvalidArgument(
            "every camera needs a name of its own", field="camera", value=", ".join(doubled)
        )
    sources: dict[Camera, FileSource] = {}
    absent: dict[Camera, MemdbError] = {}
    for camera in cameras:
        options = camera.chosen(common)
        try:
            sources[camera] = _opened(camera.address, options, with_audio=with_audio)
        except MemdbError as error:
            is_away = isinstance(error, (SourceNotFound, SourceUnreadable))
            if options.reconnect_s > 0 and is_away and may_appear(camera.address):
                absent[camera] = error
                continue
            for source in sources.values():
                source.close()
            raise
    return sources, absent


def open_late(
    camera: Camera, options: IngestOptions, *, with_audio: bool, with_video: bool
) -> FileSource:
    """The source of a camera that was absent.

    with_video: whether pictures can be seen.  Raises as `FileSource`, and `SourceUnreadable` where it shows
    pictures that cannot.
    """
    source = _opened(camera.address, options, with_audio=with_audio)
    if source.has_video and not with_video:
        source.close()
        raise SourceUnreadable(
            "nothing was loaded that sees pictures", field="source", value=shown(camera.address)
        )
    return source


def open_again(source: FileSource, options: IngestOptions, *, with_audio: bool) -> FileSource:
    """What ``source`` was, anew.  Raises as `FileSource`, also where it has other media by now."""
    again = _opened(source.address, options, with_audio=with_audio)
    if again.has_video != source.has_video:
        again.close()
        raise SourceUnreadable(
            "it has pictures now" if again.has_video else "it has no pictures any more",
            field="source",
            value=shown(source.address),
        )
    return again


def _opened(address: str, options: IngestOptions, *, with_audio: bool) -> FileSource:
    return FileSource(
        address,
        rate_hz=options.rate_hz,
        with_audio=with_audio and options.with_audio,
        sound_track=options.sound_track,
    )
