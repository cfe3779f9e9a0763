"""A file's checksum by the native edge is xxHash's own."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import xxhash

from memdb.index.native_checksum import native_checksum

PIECE = 1 << 19
"""Of ``edge/src/payload.cc``."""

native = native_checksum()
if native is None:
    pytest.skip("there is no native edge", allow_module_level=True)


@pytest.mark.parametrize(
    "length",
    [
        # Few bytes are hashed in other ways, of which there are several.
        *(
            0,
            1,
            3,
            4,
            8,
            9,
            16,
            17,
            128,
            129,
            240,
            241,
            242,
            1023,
            1024,
            1025,
            1088,
            2048,
            4096 + 63,
        ),
        *(PIECE + extra for extra in (-1024, -65, -64, -1, 0, 1, 63, 64, 65, 1023, 1024, 1025)),
        *(3 * PIECE + extra for extra in (-1, 0, 1, 40_000)),
    ],
)
@pytest.mark.parametrize("offset", [0, 7])
def test_a_piece_of_a_file(tmp_path: Path, offset: int, length: int) -> None:
    assert native is not None
    content = random.Random(length).randbytes(offset + length + 9)
    file = tmp_path / "file"
    file.write_bytes(content)
    with file.open("rb") as opened:
        fd = opened.fileno()
        wanted = xxhash.xxh3_64_intdigest(content[offset : offset + length])
        assert native(fd, offset, length) == wanted
        assert native(fd, offset, length + 9) is not None
        assert native(fd, offset, length + 10) is None


def test_what_it_refuses(tmp_path: Path) -> None:
    assert native is not None
    with (tmp_path / "file").open("wb") as opened:
        for length in (1, 1000):
            with pytest.raises(OSError, match="Bad file descriptor"):
                native(opened.fileno(), 0, length)  # which may only be written
