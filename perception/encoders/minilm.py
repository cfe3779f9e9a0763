"""MiniLM-L6: sentences to vectors, on CPU, from a local directory.

BERT (Devlin et al., 2019) as distilled by Wang et al. (*MiniLM*, 2020) and trained for sentences: 6
layers, 384 channels, 12 heads; a sentence's vector is the mean of the last layer over its tokens,
normalised (Reimers and Gurevych,
*Sentence-BERT*, 2019).  It stands here in full because it is short, and starts in a third of the
time that a general library takes to import.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional

TOKENS_MAX: Final = 256
"""What the model was trained with; longer text is cut."""


class MiniLM(nn.Module):
    """(n, tokens) ids of sentences of one length to their (n, dim) unit vectors."""

    def __init__(self, config: dict[str, int]) -> None:
        super().__init__()
        dim = config["hidden_size"]
        self.words = _embedding(config["vocab_size"], dim)
        self.positions = _embedding(config["max_position_embeddings"], dim)
        self.segments = _embedding(config["type_vocab_size"], dim)
        self.norm = nn.LayerNorm(dim, eps=config["layer_norm_eps"])
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config["num_hidden_layers"]))

    def forward(self, ids: Tensor) -> Tensor:
        """The sentence vectors; the first and last id of each are the marks of a sentence."""
        x = self.words(ids) + self.positions.weight[: ids.shape[1]] + self.segments.weight[0]
        x = self.norm(x)
        for layer in self.layers:
            x = layer(x)
        return functional.normalize(x.mean(1), dim=1)


def load_minilm(folder: Path) -> tuple[Tokenizer, MiniLM]:
    """Tokenizer and network of a local model directory, ready to run."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(TOKENS_MAX)
    with torch.device("meta"):
        # Storage comes with the weights; random initialisation would only cost time.
        network = MiniLM(config)
    network.load_state_dict(_renamed(load_file(folder / "model.safetensors")), assign=True)
    network.requires_grad_(False)
    return tokenizer, network.eval()


def _embedding(rows: int, dim: int) -> nn.Embedding:
    # Given weights are not initialised; drawing them, even without storage, loads torch's compiler,
    # which takes a second.
    return nn.Embedding(rows, dim, _weight=torch.empty(rows, dim))


class _Layer(nn.Module):
    """Attention and feed-forward, each added to its input and then normalised."""

    def __init__(self, config: dict[str, int]) -> None:
        super().__init__()
        dim, inner = config["hidden_size"], config["intermediate_size"]
        self.heads = config["num_attention_heads"]
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim)
        self.value = nn.Linear(dim, dim)
        self.mix = nn.Linear(dim, dim)
        self.mix_norm = nn.LayerNorm(dim, eps=config["layer_norm_eps"])
        self.widen = nn.Linear(dim, inner)
        self.narrow = nn.Linear(inner, dim)
        self.narrow_norm = nn.LayerNorm(dim, eps=config["layer_norm_eps"])

    def forward(self, x: Tensor) -> Tensor:
        sentences, tokens, dim = x.shape
        query, key, value = (
            projection(x).view(sentences, tokens, self.heads, -1).transpose(1, 2)
            for projection in (self.query, self.key, self.value)
        )
        attended = functional.scaled_dot_product_attention(query, key, value)
        attended = attended.transpose(1, 2).reshape(sentences, tokens, dim)
        x = self.mix_norm(x + self.mix(attended))
        y: Tensor = self.narrow_norm(x + self.narrow(functional.gelu(self.widen(x))))
        return y


_NAMES: Final = (
    ("embeddings.word_embeddings", "words"),
    ("embeddings.position_embeddings", "positions"),
    ("embeddings.token_type_embeddings", "segments"),
    ("embeddings.LayerNorm", "norm"),
    ("encoder.layer", "layers"),
    ("attention.self.query", "query"),
    ("attention.self.key", "key"),
    ("attention.self.value", "value"),
    ("attention.output.dense", "mix"),
    ("attention.output.LayerNorm", "mix_norm"),
    ("intermediate.dense", "widen"),
    ("output.dense", "narrow"),
    ("output.LayerNorm", "narrow_norm"),
)
"""Parts of the checkpoint's names and ours, in an order in which the first that fits is right."""

_UNUSED: Final = ("pooler.", "embeddings.position_ids")
"""Of the checkpoint, what a sentence vector does not need."""


def _renamed(checkpoint: dict[str, Tensor]) -> dict[str, Tensor]:
    renamed: dict[str, Tensor] = {}
    for name, value in checkpoint.items():
        if name.startswith(_UNUSED):
            continue
        ours = name
        for theirs, mine in _NAMES:
            ours = ours.replace(theirs, mine)
        renamed[ours] = value
    return renamed
