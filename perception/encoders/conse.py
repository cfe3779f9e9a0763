"""The bundled encoder: pictures in the space of sentences, by way of a thousand class names.

Convex combination of semantic embeddings (Norouzi et al., *ConSE*, ICLR 2014): a picture's vector
is the mean of the sentence vectors of its ten likeliest ImageNet class names, weighted by their
probabilities, normalised.  It needs no training and puts pictures, transcripts and questions into
one 384-d space.  It is not CLIP: it sees what ImageNet has names for.

A frame is five square pictures: the frame's middle, and its four quarters.  The quarters are the
region tokens.  The frame vector is the ConSE of the mean of the middle's probabilities and the
quarters', so that what stands at the side of a wide frame counts.

The scene vector is the mean of the network's pooled features over the five pictures.  The published
system compares SigLIP features at 0.9; of what we have, this one fits that threshold: on real video
it stays above 0.9 within a shot (0.91 to 0.98 where the camera holds still) and falls below 0.75 at
a cut, while ConSE vectors of one still shot vary from 0.4 to 1.0, as near classes take turns at the
top.

Every frame is one forward pass of five pictures, whatever the number of frames asked for: the same
pixels give the same bits.  Threads may encode side by side; nothing here changes after loading.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from memdb.types.space import Space
from perception.encoders.base import Floats, Frame, FrameFeatures, Label
from perception.encoders.efficientnet import (
    CLASSES,
    FEATURES,
    INPUT_PIXELS,
    load_efficientnet,
    normalise,
)
from perception.encoders.text import BUNDLED_DIM, BUNDLED_MODEL, BundledTextEncoder
from perception.weights import cache_dir, fetch

BUNDLED_SPACE: Final = Space("bundled", BUNDLED_DIM, "cosine", BUNDLED_MODEL)
"""The space of the bundled profile, for pictures and text alike."""

CLASSES_MIXED: Final = 10
"""Class names that make one vector; ten as published."""
LABELS_MAX: Final = 5
"""Names given per frame."""
REGIONS: Final = 4


class ConseEncoder:
    """Encodes frames and texts into `BUNDLED_SPACE`; the weights are loaded when it is made.

    Raises `WeightsUnavailable` or `WeightsDamaged` when they cannot be had.
    """

    def __init__(self) -> None:
        self.text = BundledTextEncoder()
        self._network = load_efficientnet(fetch("efficientnet-lite0"))
        self._names = _class_names(fetch("imagenet-labels"))
        self._table = torch.from_numpy(_class_vectors(self._names, self.text))
        self._short_names = [name.partition(",")[0] for name in self._names]

    @property
    def space(self) -> Space:
        """The bundled space."""
        return BUNDLED_SPACE

    @property
    def class_names(self) -> tuple[str, ...]:
        """What the network has names for, the first name of each."""
        return tuple(self._short_names)

    @property
    def tokens_per_frame(self) -> int:
        """One per quarter."""
        return REGIONS

    def encode_frames(self, frames: Sequence[Frame]) -> FrameFeatures:
        """Features of the frames; about 0.1 s of one core a frame."""
        vectors = np.zeros((len(frames), BUNDLED_DIM), np.float32)
        tokens = np.zeros((len(frames), REGIONS, BUNDLED_DIM), np.float32)
        scenes = np.zeros((len(frames), FEATURES), np.float32)
        labels: list[tuple[Label, ...]] = []
        for index, frame in enumerate(frames):
            pictures = _pictures(frame)
            with torch.inference_mode():
                scores, features = self._network(normalise(pictures))
                shares = scores.softmax(-1)
                # Each quarter counts an eighth, the middle a half.
                whole = (shares[0] + shares[1:].mean(0)) / 2
                mixed = self._mix(torch.cat([whole[None], shares[1:]]))
                scene = functional.normalize(features.mean(0), dim=0)
                likeliest = whole.topk(LABELS_MAX)
            vectors[index] = mixed[0].numpy()
            tokens[index] = mixed[1:].numpy()
            scenes[index] = scene.numpy()
            pairs = zip(likeliest.indices.tolist(), likeliest.values.tolist(), strict=True)
            labels.append(tuple((self._short_names[row], share) for row, share in pairs))
        return FrameFeatures(vectors, tokens, scenes, tuple(labels))

    def encode_texts(self, texts: Sequence[str]) -> Floats:
        """(n, 384) unit vectors of the texts."""
        return self.text.encode(texts)

    def _mix(self, shares: Tensor) -> Tensor:
        weights, rows = shares.topk(CLASSES_MIXED)
        return functional.normalize((weights[..., None] * self._table[rows]).sum(1), dim=-1)


def _pictures(frame: Frame) -> Tensor:
    """(5, 3, 224, 224) uint8, channels last in memory: the middle square and the four quarters."""
    image = Image.fromarray(frame)
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    half_width, half_height = width / 2, height / 2
    boxes = [(left, top, left + side, top + side)]
    boxes += [
        (x, y, x + half_width, y + half_height)
        for y in (0.0, half_height)
        for x in (0.0, half_width)
    ]
    size = (INPUT_PIXELS, INPUT_PIXELS)
    # A quarter is squeezed into the square rather than cut: nothing of the frame is left out.
    # reducing_gap halves large frames first, which costs no quality at these sizes.
    squares = [
        np.asarray(image.resize(size, Image.Resampling.BICUBIC, box, reducing_gap=2.0))
        for box in boxes
    ]
    return torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2)


def _class_names(folder: Path) -> list[str]:
    synsets = (folder / "imagenet_synsets.txt").read_text(encoding="utf-8").split()
    lemmas = dict(
        line.split("\t", 1)
        for line in (folder / "imagenet_synset_to_lemma.txt").read_text("utf-8").splitlines()
    )
    names = [lemmas[synset] for synset in synsets]
    assert len(names) == CLASSES
    return names


def _class_vectors(names: list[str], text: BundledTextEncoder) -> Floats:
    """(1000, 384) sentence vectors of the class names; kept beside the weights, named for their
    hashes.
    """
    path = cache_dir() / f"conse-labels@{BUNDLED_MODEL.rpartition('@')[2]}.f32"
    expected = CLASSES * BUNDLED_DIM
    digest_bytes = hashlib.sha256().digest_size
    if path.is_file():
        content = path.read_bytes()
        body, digest = content[:-digest_bytes], content[-digest_bytes:]
        if len(body) == expected * 4 and hashlib.sha256(body).digest() == digest:
            return np.frombuffer(body, "<f4").reshape(CLASSES, BUNDLED_DIM).copy()
    table = text.encode_table(names)
    body = table.astype("<f4").tobytes()
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".labels-", delete=False) as stream:
        stream.write(body + hashlib.sha256(body).digest())
    # Atomic: whoever comes meanwhile reads nothing or all of it.
    Path(stream.name).replace(path)
    return table
