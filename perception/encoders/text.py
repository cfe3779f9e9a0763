"""The bundled text encoder: MiniLM sentence vectors, which are also the space of the bundled
picture encoder.

Texts are encoded one by one, so that a text's vector never depends on its neighbours; a sentence
takes a few milliseconds.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from tokenizers import Tokenizer

from perception.artefacts import ARTEFACTS
from perception.encoders.base import Floats
from perception.encoders.minilm import MiniLM, load_minilm
from perception.weights import artefact_hash, fetch

BUNDLED_DIM: Final = 384


def _bundled_model() -> str:
    # The revision of the rule, then the bytes: either one changing makes other vectors.
    digest = hashlib.sha256(b"conse-2")
    for name in ("efficientnet-lite0", "minilm-l6-v2", "imagenet-labels"):
        digest.update(artefact_hash(ARTEFACTS[name]).encode())
    return f"bundled:conse-efficientnet-lite0-minilm-l6-v2@{digest.hexdigest()[:16]}"


BUNDLED_MODEL: Final = _bundled_model()
"""The ``model`` of every space that the bundled encoders serve; known without loading anything."""


class BundledTextEncoder:
    """Embeds text into the bundled 384-d space; weights are fetched and loaded at the first
    text.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loaded: tuple[Tokenizer, MiniLM] | None = None

    @property
    def model(self) -> str:
        """The ``model`` of the bundled space."""
        return BUNDLED_MODEL

    def encode(self, texts: Sequence[str]) -> Floats:
        """(n, 384) float32 rows of unit length.

        Raises `WeightsUnavailable` or `WeightsDamaged` when the weights cannot be had.
        """
        with self._lock:
            tokenizer, network = self._load()
            with torch.inference_mode():
                rows = [
                    network(torch.tensor([tokenizer.encode(text).ids])).numpy() for text in texts
                ]
        return np.concatenate(rows) if rows else np.zeros((0, BUNDLED_DIM), np.float32)

    def encode_table(self, texts: Sequence[str]) -> Floats:
        """`encode` for many short texts, several times as quick.

        Texts of one length share a pass, so a row may differ from `encode` in its last bits.
        """
        table = np.zeros((len(texts), BUNDLED_DIM), np.float32)
        with self._lock:
            tokenizer, network = self._load()
            by_length: dict[int, list[tuple[int, list[int]]]] = {}
            for row, text in enumerate(texts):
                ids = tokenizer.encode(text).ids
                by_length.setdefault(len(ids), []).append((row, ids))
            with torch.inference_mode():
                for group in by_length.values():
                    rows = [row for row, _ in group]
                    table[rows] = network(torch.tensor([ids for _, ids in group])).numpy()
        return table

    def _load(self) -> tuple[Tokenizer, MiniLM]:
        if self._loaded is None:
            self._loaded = load_minilm(fetch("minilm-l6-v2"))
        return self._loaded
