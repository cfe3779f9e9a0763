"""How clips that were heard and not seen are told from the others; known without loading what hears."""

from __future__ import annotations

from typing import Final

MEDIUM_LABEL: Final = "medium"
MEDIUM_SOUND: Final = "sound"
"""Value of that label of every clip without pictures: who looks for what was seen leaves them out."""
