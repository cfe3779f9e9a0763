"""``python -m memdb`` is the command ``memdb``."""

from __future__ import annotations

import sys

from memdb.cli.main import main

sys.exit(main())
