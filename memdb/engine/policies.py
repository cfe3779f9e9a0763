"""Which of the scored clips answer: ours, and the four rules published with IXC2.5-OmniLive.

``ixc-live``     Backend/backend_ixc/vs_deploy/video_streaming.py: cosine > 0.3, first index only
``ixc-gradio``   online_demo_gradio/backend_vs.py: cosine > 0.25, first index only
``ixc-offline``  examples/infer_llm_with_memory.py: softmax(cosine / 0.1) > 0.2, all
``ixc-train``    memory/modeling_qwen.py: the min(4, K) best of softmax(cosine / 0.1), sorted by
                 time

The softmax runs over all clips that the filters admit, as the published code runs over all clips it
has.  "First" is the earliest start.  Scores stay the plain similarities under every rule.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from memdb.index.partition import PartitionView
from memdb.types.arrays import Array

_TEMPERATURE: Final = 0.1
_LIVE_COSINE: Final = 0.3
_GRADIO_COSINE: Final = 0.25
_OFFLINE_SHARE: Final = 0.2
_TRAIN_CLIPS: Final = 4

Selected = tuple[Array, Array]
"""(rows int64, scores float32) in the order of the answer."""


def select(
    policy: str, view: PartitionView, query: Array, allowed: Array | None, limit: int
) -> Selected:
    """Apply the named policy; ``query`` from `PartitionView.unit`."""
    if policy == "top":
        return view.search(query, limit, allowed)
    rows, scores = view.scores(query, allowed)
    if len(rows) == 0:
        return rows, scores
    chosen = _RULES[policy](rows, scores, view.columns["start_ns"])
    return rows[chosen][:limit], scores[chosen][:limit]


def _by_time(chosen: Array, rows: Array, start_ns: Array) -> Array:
    return chosen[np.lexsort((rows[chosen], start_ns[rows[chosen]]))]


def _earliest_above(threshold: float) -> Callable[[Array, Array, Array], Array]:
    def rule(rows: Array, scores: Array, start_ns: Array) -> Array:
        return _by_time(np.flatnonzero(scores > threshold), rows, start_ns)[:1]

    return rule


def _softmax(scores: Array) -> Array:
    scaled = scores.astype(np.float64) / _TEMPERATURE
    weights = np.exp(scaled - scaled.max())
    return np.asarray(weights / weights.sum())


def _offline(rows: Array, scores: Array, start_ns: Array) -> Array:
    return _by_time(np.flatnonzero(_softmax(scores) > _OFFLINE_SHARE), rows, start_ns)


def _train(rows: Array, scores: Array, start_ns: Array) -> Array:
    best = np.lexsort((rows, -scores))[:_TRAIN_CLIPS]
    return _by_time(best, rows, start_ns)


_RULES: Final[dict[str, Callable[[Array, Array, Array], Array]]] = {
    "ixc-live": _earliest_above(_LIVE_COSINE),
    "ixc-gradio": _earliest_above(_GRADIO_COSINE),
    "ixc-offline": _offline,
    "ixc-train": _train,
}
