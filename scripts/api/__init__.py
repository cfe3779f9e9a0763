"""The page of the Python API, made of the docstrings."""

import sys
from pathlib import Path

# The client of this tree, whichever is installed; memdb is taken from the working directory.
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "clients" / "python"))
