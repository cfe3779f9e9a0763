"""Write the sync client from the asyncio client.

Every ``_async_NAME.py`` of `memdb_client` is a source; its twin ``_NAME.py`` is generated from it
and checked in. ``python clients/python/tools/unasync.py`` writes the twins, ``--check`` fails
when one differs from what its source would give.

The rules, applied to tokens so that prose is left alone:

- ``async`` and ``await`` go; ``grpc.aio`` becomes ``grpc``, and the names of `NAMES` become their
  sync counterparts;
- ``AsyncThing`` becomes ``Thing``, ``_async_module`` becomes ``_module`` (in comments and
  docstrings too);
- a line that ends in ``# async only`` goes; a comment ``# sync: code`` becomes ``code``.

What really differs (how to wait, how to start work in the background) stands in the hand-written
pair ``_acompat.py`` and ``_compat.py``, which have the same names.
"""

from __future__ import annotations

import argparse
import difflib
import io
import re
import subprocess
import sys
import tokenize
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "memdb_client"
PREFIX = "_async_"
HEADER = """\
# Generated from {source} by clients/python/tools/unasync.py: do not edit.
# ruff: noqa: C416, RUF100, UP028 - written as asyncio needs it
"""

NAMES = {
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "__aiter__": "__iter__",
    "__anext__": "__next__",
    "StopAsyncIteration": "StopIteration",
    "aclosing": "closing",
    "aclose": "close",
    "anext": "next",
    "_acompat": "_compat",
}
"""Names whose sync counterpart does not follow from a rule."""

_WORD = re.compile(r"\w+")
_SYNC_LINE = re.compile(r"# sync: (?=\S)")
_ASYNC_LINE = re.compile(r"  # async only$")


def twin_of(source: Path) -> Path:
    """Where the sync twin of an asyncio module stands."""
    return source.with_name("_" + source.name.removeprefix(PREFIX))


def to_sync(text: str) -> str:
    """The sync text of the asyncio module ``text``, not formatted yet."""
    lines = [line for line in text.splitlines(keepends=True) if not _ASYNC_LINE.search(line)]
    text = _SYNC_LINE.sub("", "".join(lines))
    lines = text.splitlines(keepends=True)
    tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    # From the end, so that the positions of what is still to come stay right.
    for index in range(len(tokens) - 1, -1, -1):
        token = tokens[index]
        if token.type == tokenize.NAME and token.string in ("async", "await"):
            _replace(lines, token.start, tokens[index + 1].start, "")
        elif token.type == tokenize.NAME and _is_aio(tokens, index):
            _replace(lines, tokens[index - 1].start, token.end, "")
        elif token.type in (tokenize.NAME, tokenize.STRING, tokenize.COMMENT):
            _replace(lines, token.start, token.end, _WORD.sub(_sync_name, token.string))
    return "".join(lines)


def formatted(text: str, path: Path) -> str:
    """``text`` with its imports sorted and formatted as the house formats ``path``."""
    for command in (["check", "--select", "I", "--fix", "--quiet"], ["format", "--quiet"]):
        text = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--stdin-filename", str(path), "-"],
            input=text,
            capture_output=True,
            check=True,
            text=True,
            encoding="utf-8",
            cwd=PACKAGE.parents[2],
        ).stdout
    return text


def generate(source: Path) -> str:
    """The whole text of the twin of ``source``."""
    header = HEADER.format(source=source.name)
    return formatted(header + to_sync(source.read_text("utf-8")), twin_of(source))


def _is_aio(tokens: list[tokenize.TokenInfo], index: int) -> bool:
    """Whether the token is the ``aio`` of ``grpc.aio``."""
    return tokens[index].string == "aio" and [t.string for t in tokens[index - 2 : index]] == [
        "grpc",
        ".",
    ]


def _sync_name(match: re.Match[str]) -> str:
    word = match[0]
    if word in NAMES:
        return NAMES[word]
    if word.startswith(PREFIX):
        return "_" + word.removeprefix(PREFIX)
    if re.match(r"_?Async[A-Z]", word):
        return word.replace("Async", "", 1)
    return word


def _replace(lines: list[str], start: tuple[int, int], end: tuple[int, int], new: str) -> None:
    (first, left), (last, right) = start, end
    tail = lines[last - 1][right:]
    lines[first - 1 : last] = [lines[first - 1][:left] + new + tail]


def main() -> int:
    """Write the twins, or with ``--check`` compare; 1 when one differs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare only; fail on a difference")
    check: bool = parser.parse_args().check
    stale = 0
    for source in sorted(PACKAGE.glob(f"{PREFIX}*.py")):
        twin = twin_of(source)
        before = twin.read_text("utf-8") if twin.exists() else ""
        after = generate(source)
        if before == after:
            continue
        if check:
            stale += 1
            names = (f"{twin.name} as it is", f"{twin.name} as {source.name} gives it")
            sys.stdout.writelines(
                difflib.unified_diff(before.splitlines(True), after.splitlines(True), *names)
            )
        else:
            twin.write_text(after, "utf-8")
            sys.stdout.write(f"wrote {twin.name}\n")
    if stale:
        sys.stderr.write(
            f"{stale} generated module(s) differ: run clients/python/tools/unasync.py\n"
        )
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
