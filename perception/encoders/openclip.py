"""CLIP towers through open_clip: any of its model names, with a local checkpoint or one of its
tags.

The frame vector is the image tower's feature of the whole frame, the region tokens those of its
four quarters; the scene vector is the frame vector (CLIP features of one shot stay close, like the
SigLIP features of the published system).  A class list gives no labels here.

Without a checkpoint the weights are random: good for shapes and speed, and for nothing else; the
space says so.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from memdb.errors import InvalidArgument
from memdb.types.space import Space
from perception.encoders.base import Floats, Frame, FrameFeatures

REGIONS: Final = 4

_ABSENT_OPERATORS: Final = ("nms", "qnms")
_operators: list[Any] = []
"""Keeps the declarations below alive: they vanish with their library object."""


class OpenClipEncoder:
    """Encodes frames and texts with one open_clip model.

    model_name: as open_clip lists it (``ViT-L-14``).  checkpoint: a file, a tag that open_clip
    knows, or None for random weights.

    Raises `InvalidArgument` for a model or checkpoint that open_clip does not take.
    """

    def __init__(self, model_name: str, checkpoint: str | None = None) -> None:
        declare_absent_operators()
        # Imported here: torchvision, which it imports, needs the declaration above on CPU.
        import open_clip  # noqa: PLC0415

        if model_name not in open_clip.list_models():
            raise InvalidArgument(
                "open_clip has no such model", field="encoder.model", value=model_name
            )
        if (
            checkpoint is not None
            and not Path(checkpoint).is_file()
            and checkpoint not in open_clip.list_pretrained_tags_by_model(model_name)
        ):
            raise InvalidArgument(
                f"neither a file nor a checkpoint that open_clip knows of {model_name}",
                reason="NO_CHECKPOINT",
                field="encoder.checkpoint",
                value=checkpoint,
            )
        try:
            network, _, transform = open_clip.create_model_and_transforms(
                model_name, pretrained=checkpoint, device="cpu"
            )
        except (RuntimeError, ValueError) as error:
            raise InvalidArgument(
                f"open_clip does not take this checkpoint: {error}",
                field="encoder.checkpoint",
                value=checkpoint,
            ) from error
        self._network: Any = network.eval().requires_grad_(False)
        self._transform: Any = transform
        self._tokenizer: Any = open_clip.get_tokenizer(model_name)
        self._lock = threading.Lock()
        dim = self.encode_texts(["a"]).shape[1]
        self._space = Space(
            _space_name(model_name, checkpoint),
            int(dim),
            "cosine",
            f"open_clip:{model_name}@{_weights_hash(self._network, checkpoint)}",
        )

    @property
    def space(self) -> Space:
        """The space of this model and these weights."""
        return self._space

    @property
    def tokens_per_frame(self) -> int:
        """One per quarter."""
        return REGIONS

    def encode_frames(self, frames: Sequence[Frame]) -> FrameFeatures:
        """Features of the frames; one pass of five pictures each, as `Encoder` promises."""
        dim = self._space.dim
        vectors = np.zeros((len(frames), dim), np.float32)
        tokens = np.zeros((len(frames), REGIONS, dim), np.float32)
        for index, frame in enumerate(frames):
            pictures = torch.stack([self._transform(picture) for picture in _pictures(frame)])
            with self._lock, torch.inference_mode():
                features = _unit_rows(self._network.encode_image(pictures))
            vectors[index], tokens[index] = features[0], features[1:]
        return FrameFeatures(vectors, tokens, vectors, ((),) * len(frames))

    def encode_texts(self, texts: Sequence[str]) -> Floats:
        """(n, dim) unit vectors from the text tower."""
        with self._lock, torch.inference_mode():
            rows = [
                _unit_rows(self._network.encode_text(self._tokenizer([text]))) for text in texts
            ]
        return np.concatenate(rows)


def _pictures(frame: Frame) -> list[Image.Image]:
    """The frame and its four quarters."""
    image = Image.fromarray(frame)
    width, height = image.size
    x, y = width // 2, height // 2
    boxes = ((0, 0, x, y), (x, 0, width, y), (0, y, x, height), (x, y, width, height))
    return [image, *(image.crop(box) for box in boxes)]


def _unit_rows(features: Tensor) -> Floats:
    rows: Floats = functional.normalize(features.float(), dim=-1).cpu().numpy()
    return rows


def _space_name(model_name: str, checkpoint: str | None) -> str:
    name = "".join(char if char.isalnum() or char in "-_." else "-" for char in model_name.lower())
    return f"clip-{name}" if checkpoint is not None else f"random-{name}"


def _weights_hash(network: Any, checkpoint: str | None) -> str:
    """16 digits that change with any weight; ``random`` before them where nothing was loaded."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(name.encode())
        # Through bytes, since numpy has no bfloat16.
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return ("random-" if checkpoint is None else "") + digest.hexdigest()[:16]


def declare_absent_operators() -> None:
    """Let torchvision be imported beside a CPU torch.

    Its wheels are linked against CUDA; on a CPU torch their C++ operators cannot be loaded, and
    importing torchvision then fails where it describes them.  Nothing here calls them: declaring
    that they exist is enough.
    """
    if _operators or torch.version.cuda is not None:
        return
    missing = [name for name in _ABSENT_OPERATORS if not hasattr(torch.ops.torchvision, name)]
    if missing:
        library: Any = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]  # torch types it not
        for name in missing:
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _operators.append(library)
