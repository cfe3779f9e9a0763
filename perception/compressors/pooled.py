"""The training-free compressor: what the encoder gives is kept as it is.

Short-term memory is every frame's region tokens, frame after frame; global memory is the normalised
mean of the frame vectors.  Both stay in the encoder's space, so that a question is compared with
either directly.
"""

from __future__ import annotations

import numpy as np

from perception.compressors.base import ClipMemory
from perception.encoders.base import Floats


class PooledCompressor:
    """Keeps region tokens, averages frame vectors."""

    def compress(self, frame_vectors: Floats, region_tokens: Floats) -> ClipMemory:
        """See `Compressor.compress`."""
        frames, tokens_per_frame, dim = region_tokens.shape
        assert frames == len(frame_vectors) > 0
        mean = frame_vectors.mean(axis=0, dtype=np.float64)
        # Unit vectors can cancel out only where an encoder is broken; then the first stands for
        # all.
        norm = float(np.linalg.norm(mean))
        whole = mean / norm if norm > 1e-6 else frame_vectors[0]
        return ClipMemory(
            short_memory=region_tokens.reshape(frames * tokens_per_frame, dim).astype(np.float16),
            global_memory=whole.astype(np.float32),
            frames_per_token_row=1.0 / tokens_per_frame,
        )
