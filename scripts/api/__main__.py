"""Write docs/api.md from the docstrings, or with ``--check`` compare.

    python -m scripts.api            write the page
    python -m scripts.api --check    write nothing; show what differs and exit 1

The frame, with the prose and the examples, is scripts/api/page.md.  A public name without a docstring, or one
that the frame leaves out, is an error.
"""

from __future__ import annotations

import argparse
import difflib
import sys

from scripts.api.page import ROOT, Incomplete, Page

TARGET = ROOT / "docs" / "api.md"


def main() -> int:
    """Parses the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare only; fail on a difference")
    check: bool = parser.parse_args().check
    try:
        fresh = Page().text()
    except Incomplete as error:
        print(f"api: {error}", file=sys.stderr)
        return 1
    present = TARGET.read_text("utf-8") if TARGET.exists() else ""
    if not check:
        TARGET.write_text(fresh, "utf-8")
        return 0
    if present == fresh:
        return 0
    names = ("docs/api.md as it is", "docs/api.md as the code gives it")
    sys.stdout.writelines(
        difflib.unified_diff(present.splitlines(True), fresh.splitlines(True), *names, n=0)
    )
    print("docs/api.md: not what the docstrings say; run `make api`", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
