"""Which artefacts the bundled encoder reads; known without loading any of its libraries."""

from __future__ import annotations

from typing import Final

BUNDLED_TEXT_ARTEFACTS: Final = ("minilm-l6-v2",)
BUNDLED_ARTEFACTS: Final = (*BUNDLED_TEXT_ARTEFACTS, "efficientnet-lite0", "imagenet-labels")
