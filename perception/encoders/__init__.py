"""Encoders by name: ``bundled``, or ``open_clip:MODEL[:CHECKPOINT]``."""

from __future__ import annotations

from memdb.errors import InvalidArgument
from perception.encoders.base import Encoder, Frame, FrameFeatures

BUNDLED = "bundled"
OPEN_CLIP = "open_clip"


def check_encoder(name: str) -> str:
    """``name`` if `load_encoder` knows such; raises as that does, and loads nothing."""
    kind, _, rest = name.partition(":")
    if name == BUNDLED or (kind == OPEN_CLIP and rest):
        return name
    raise InvalidArgument(
        "an encoder is 'bundled' or 'open_clip:MODEL:CHECKPOINT'", field="encoder", value=name
    )


def load_encoder(name: str = BUNDLED) -> Encoder:
    """The encoder that ``name`` stands for, with its weights.

    ``open_clip:ViT-L-14:/path/to/checkpoint.pt`` takes any model name of open_clip; CHECKPOINT is a
    file, or a tag that open_clip knows and fetches.  Raises `InvalidArgument` for an unknown name,
    `WeightsUnavailable` when the weights cannot be had.
    """
    if check_encoder(name) == BUNDLED:
        # Imported here: each encoder brings its own heavy libraries.
        from perception.encoders.conse import ConseEncoder  # noqa: PLC0415

        return ConseEncoder()
    from perception.encoders.openclip import OpenClipEncoder  # noqa: PLC0415

    model, _, checkpoint = name.removeprefix(f"{OPEN_CLIP}:").partition(":")
    return OpenClipEncoder(model, checkpoint or None)


__all__ = ["Encoder", "Frame", "FrameFeatures", "check_encoder", "load_encoder"]
