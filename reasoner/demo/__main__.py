"""`make demo`: see `reasoner.demo.run`."""

from __future__ import annotations

import sys

from reasoner.demo.run import main

if __name__ == "__main__":
    sys.exit(main())
