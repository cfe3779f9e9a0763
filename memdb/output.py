"""What a program prints as its result, and nobody takes: a pipe to a program that has read enough, a full disk."""

from __future__ import annotations

import errno
import io
import json
import os
import sys
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Final, TextIO

from memdb.errors import FailedPrecondition

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

LOST: Final = "OUTPUT_LOST"


def keep_standard_files() -> None:
    """Open those of the three standard files that are closed, to nowhere.

    The next file that is opened would have the number of one of them: a database's, into which whatever library has
    something to say on stderr would then write.
    """
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
            if getattr(sys, name) is None:
                setattr(sys, name, os.fdopen(fd, "r" if fd == 0 else "w", closefd=False))


@contextmanager
def result_on_stdout() -> Iterator[None]:
    """What is printed within it is written at its end; raises `OutputLost` where it cannot be."""
    output = Output(sys.stdout)
    with redirect_stdout(output):
        yield
        output.flush()


_NO_OPTIONS: Final = "--"
"""Behind it there are none."""


def parsed(
    parser: argparse.ArgumentParser, arguments: Sequence[str] | None, *, rest: str | None = None
) -> argparse.Namespace:
    """What a command line says.

    rest: the list of arguments between which options may stand.  Help or a version that is asked for and cannot be
    written, of which argparse says nothing, ends the program as another result does: with 1, and a line on stderr
    unless its reader has read enough.
    """
    try:
        with redirect_stdout(output := Output(sys.stdout)):
            try:
                if rest is None:
                    return parser.parse_args(arguments)
                given = list(sys.argv[1:] if arguments is None else arguments)
                end = given.index(_NO_OPTIONS) if _NO_OPTIONS in given else len(given)
                options, others = parser.parse_known_args(given[:end])
                if any(one.startswith("-") for one in others):
                    parser.error(f"unrecognized arguments: {' '.join(others)}")
                getattr(options, rest).extend((*others, *given[end + 1 :]))
                return options
            finally:
                output.flush()
    except OutputLost as error:
        if not error.is_read_enough:
            print(f"{parser.prog}: {error}", file=sys.stderr)
        raise SystemExit(1) from None


class OutputLost(FailedPrecondition):
    """A result that cannot be written (``OUTPUT_LOST``)."""

    def __init__(self, number: int) -> None:
        """number: what the system says."""
        super().__init__(f"the result cannot be written: {os.strerror(number)}", reason=LOST)
        self.is_read_enough = number == errno.EPIPE
        """Whether nobody reads any further, as behind ``| head``: that is no failure to tell of."""


def _escaped(text: str, encoding: str | None) -> str:
    """``text``, its characters that the encoding lacks as ``\\uXXXX``: a terminal is not always one of UTF-8, and
    what a command line has of other bytes is in none.
    """
    encoding = encoding or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        # Not by the stream's own rule: it may let such bytes through.
        return "".join(
            char if char.encode(encoding, "ignore") else json.dumps(char)[1:-1] for char in text
        )
    return text


class Output(io.TextIOBase):
    """A stream that says what becomes of it as one of our errors."""

    def __init__(self, stream: TextIO | None) -> None:
        """stream: None where nobody wants what is written, as for `print`."""
        self._stream = stream

    @property
    def encoding(self) -> str | None:  # type: ignore[override]
        """Of the stream."""
        return None if self._stream is None else self._stream.encoding

    def write(self, text: str) -> int:
        """Write text; raises `OutputLost`.

        What the stream cannot encode is written as JSON escapes it, which whoever reads JSON takes for the same.
        """
        if self._stream is None:
            return len(text)
        try:
            self._stream.write(_escaped(text, self._stream.encoding))
            return len(text)
        except OSError as error:
            raise self._lost(error) from None

    def flush(self) -> None:
        """Hand on what was written; raises `OutputLost`."""
        if self._stream is None:
            return
        try:
            self._stream.flush()
        except OSError as error:
            raise self._lost(error) from None

    def _lost(self, error: OSError) -> OutputLost:
        # What is left in its buffer would be tried once more as the process ends, and told of in Python's own words.
        try:
            fd = self._stream.fileno() if self._stream is not None else -1
        except (OSError, ValueError):  # nothing of the system's
            fd = -1
        if fd >= 0:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, fd)
            os.close(nowhere)
        return OutputLost(error.errno or errno.EIO)
