"""Files of LMDB: right ones, and others by a few bytes, pages or sizes changed.  Beside `edge/drive.py`."""

from __future__ import annotations

import random
import struct
import tempfile
from pathlib import Path
from typing import Final

import lmdb

from memdb.store.ordinary_tree import Tree

PAGE: Final = 4096
_SIZES: Final = (0, 1, 2, 15, 16, 17, 32, 33, 255, 4095, 4097, 32_767, 65_535)
_NUMBERS: Final = (0, 1, 2, 33, 1 << 31, 1 << 47, 1 << 48, 1 << 62, (1 << 64) - 1)


class OddFile:
    """A file whose main table has branches and values with pages of their own, and what its header says of that."""

    def __init__(self, key_bytes: int, chosen: random.Random) -> None:
        with (
            tempfile.TemporaryDirectory() as folder,
            lmdb.open(folder, map_size=16 << 20, sync=False) as env,
        ):
            for _ in range(3):
                with env.begin(write=True) as txn:
                    for number in chosen.sample(range(900), 300):
                        size = chosen.choice((0, 1, 30, 3000, 9000)) if number % 9 == 0 else 20
                        txn.put(b"%0*d" % (key_bytes, number), chosen.randbytes(size))
                    for number in chosen.sample(range(900), 40):
                        txn.delete(b"%0*d" % (key_bytes, number))
            self.end = int(env.info()["last_pgno"]) + 1
            told = env.stat()
            self.right = (Path(folder) / "data.mdb").read_bytes()
        counts = (told["branch_pages"], told["leaf_pages"], told["overflow_pages"], told["entries"])
        self.tree = Tree(self._root(), told["depth"], *counts)

    def _root(self) -> int:
        """Of the main table, by the newer of the two headers."""
        newest: tuple[int, int] = max(
            struct.unpack_from("<QQ", self.right, page * PAGE + 136)[::-1] for page in (0, 1)
        )
        main = struct.unpack_from("<Q", self.right, (newest[0] & 1) * PAGE + 16 + 24 + 48 + 40)
        return int(main[0])

    def odd(self, rng: random.Random) -> tuple[bytes, Tree]:
        """It, as it is or changed in a few places, and what is said of it."""
        data, tree = bytearray(self.right), self.tree
        for _ in range(rng.choice((0, 1, 1, 2, 5))):
            begin = rng.randrange(2, self.end) * PAGE
            how = rng.randrange(7)
            if how == 0:
                data[begin + rng.randrange(PAGE)] = rng.randrange(256)
            elif how == 1:
                data[begin + rng.randrange(120)] ^= 1 << rng.randrange(8)
            elif how == 2:  # kind of the page, and where its nodes begin
                struct.pack_into("<H", data, begin + rng.choice((10, 12, 14)), rng.choice(_SIZES))
            elif how == 3:
                other = rng.randrange(2, self.end) * PAGE
                data[begin : begin + PAGE] = data[other : other + PAGE]
            elif how == 4:  # where a node lies
                place = begin + 16 + 2 * rng.randrange(60)
                struct.pack_into("<H", data, place, 2 * rng.randrange(PAGE // 2))
            elif how == 5:  # the head of one, whose child another page may be
                (node,) = struct.unpack_from("<H", data, begin + 16 + 2 * rng.randrange(8))
                place = begin + min(node, PAGE - 8)
                number = rng.choice((*_NUMBERS[:4], rng.randrange(self.end)))
                struct.pack_into("<IH", data, place, number, rng.choice((0, 0, 1, 0xFFFF)))
            else:
                changed = {name: getattr(tree, name) for name in Tree.__match_args__}
                changed[rng.choice(Tree.__match_args__)] = rng.choice(_NUMBERS)
                tree = Tree(**changed)
        if rng.random() < 0.05:
            del data[rng.randrange(len(data)) :]
        return bytes(data), tree
