"""Encoders by name: ``bundled``, or ``open_clip:MODEL[:CHECKPOINT]``."""

from __future__ import annotations

from memdb.errors import InvalidArgument
from perception.encoders.base import Encoder, Frame, FrameFeatures

BUNDLED = "bundled"
OPEN_CLIP = "open_clip"


def load_encoder(name: str = BUNDLED) -> Encoder:
    """The encoder that ``name`` stands for, with its weights.

    ``open_clip:ViT-L-14:/path/to/checkpoint.pt`` takes any model name of open_clip; CHECKPOINT is a
    file, or a tag that open_clip knows and fetches.  Raises `InvalidArgument` for an unknown name,
    `WeightsUnavailable` when the weights cannot be had.
    """
    kind, _, rest = name.partition(":")
    if name == BUNDLED:
        # Imported here: each encoder brings its own heavy libraries.
        from perception.encoders.conse import ConseEncoder  # noqa: PLC0415

        return ConseEncoder()
    if kind == OPEN_CLIP and rest:
        from perception.encoders.openclip import OpenClipEncoder  # noqa: PLC0415

        model, _, checkpoint = rest.partition(":")
        return OpenClipEncoder(model, checkpoint or None)
    raise InvalidArgument(
        "an encoder is 'bundled' or 'open_clip:MODEL:CHECKPOINT'", field="encoder", value=name
    )


__all__ = ["Encoder", "Frame", "FrameFeatures", "load_encoder"]
