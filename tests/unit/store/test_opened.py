"""Values opened many at a time are what they are one by one, and so is what is said of a damaged one."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from memdb import DataLoss
from memdb.config import EngineConfig
from memdb.store.creation import create_environment
from memdb.store.envelope import Coding, Kind, seal, unseal
from memdb.store.keyring import KeyRing
from memdb.store.opened import _TOGETHER_MIN, opened, opened_values
from memdb.store.records import NumberRecord, decoded, encode_record
from memdb.store.schema import USER_TABLES, Table
from memdb.store.transaction import BLOCK_BYTES, BLOCK_ENTRIES, Transaction, _check_order

CONFIG = EngineConfig(map_bytes_initial=1 << 20, disk_free_bytes_min=1 << 20)


def key_of(number: int) -> bytes:
    return b"ab"[number % 2 : number % 2 + 1] + number.to_bytes(7, "big")


@pytest.mark.parametrize("count", [0, 1, BLOCK_ENTRIES, BLOCK_ENTRIES + 1, 3 * BLOCK_ENTRIES + 7])
def test_blocks_are_the_scan(tmp_path: Path, count: int) -> None:
    def fill(txn: Transaction) -> None:
        for number in range(count):
            key = key_of(number)
            txn.put(Table.CLIPS, key, seal(key, b"x" * (number % 90), Kind.RECORD))

    environment = create_environment(tmp_path / "env", USER_TABLES, CONFIG, fill)
    with environment.read() as txn:
        for prefix in (b"", b"a", b"b", b"c"):
            one_by_one = [(key, bytes(value)) for key, value in txn.scan(Table.CLIPS, prefix)]
            in_blocks = [
                (key, bytes(value))
                for keys, values in txn.blocks(Table.CLIPS, prefix)
                for key, value in zip(keys, values, strict=True)
            ]
            assert in_blocks == one_by_one
        payloads = [
            bytes(payload)
            for block in opened(txn, Table.CLIPS, Kind.RECORD)
            for payload in block.payloads()
        ]
        assert payloads == [bytes(value[32:]) for _, value in txn.scan(Table.CLIPS)]
    environment.close()


def test_no_more_is_decrypted_together_than_a_block(tmp_path: Path) -> None:
    sizes = [0, 300_000, BLOCK_BYTES + 1, *[1 << 19] * 40, BLOCK_BYTES, 5]

    def fill(txn: Transaction) -> tuple[bool, None]:
        for number, size in enumerate(sizes):
            key = number.to_bytes(8, "big")
            txn.put(Table.CLIPS, key, seal(key, bytes(size), Kind.RECORD))
        return True, None

    environment = create_environment(
        tmp_path / "env", USER_TABLES, CONFIG, lambda _: None, KeyRing(b"m" * 32)
    )
    environment.write(fill, sum(sizes))
    with environment.read() as txn:
        tracemalloc.start()
        found = [
            (int.from_bytes(key, "big"), len(payload))
            for block in opened(txn, Table.CLIPS, Kind.RECORD)
            for key, payload in zip(block.keys, block.payloads(), strict=True)
        ]
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    environment.close()
    assert found == list(enumerate(sizes))
    # The block that was used, and the one that is made.
    assert peak < 2.5 * BLOCK_BYTES


def test_keys_out_of_order_are_damage() -> None:
    _check_order(Table.CLIPS, [b"a", b"aa", b"b"])
    for keys in ([b"a", b"c", b"b"], [b"a", b"a"]):
        with pytest.raises(DataLoss) as refused:
            _check_order(Table.CLIPS, keys)
        assert (refused.value.reason, refused.value.value) == ("KEY_ORDER", repr(keys[-1]))


@pytest.mark.parametrize("count", [3, _TOGETHER_MIN])
def test_whatever_is_flipped_is_told_as_one_by_one(count: int) -> None:
    keys = [f"key {number:02}".encode() for number in range(count)]
    values = [
        seal(key, bytes([number]) * 40, Kind.ROW, Coding.F16, 1, 4)
        for number, key in enumerate(keys)
    ]
    whole = opened_values(Table.VECTORS, keys, [memoryview(one) for one in values], Kind.ROW)
    assert whole.heads["dim"].tolist() == [4] * count
    assert set(whole.heads["coding"].tolist()) == {Coding.F16}
    for at in range(len(values[1])):
        for bit in range(8):
            damaged = bytearray(values[1])
            damaged[at] ^= 1 << bit
            views = [memoryview(one) for one in values]
            views[1] = memoryview(bytes(damaged))
            with pytest.raises(DataLoss) as alone:
                unseal(Table.VECTORS, keys[1], views[1], Kind.ROW)
            with pytest.raises(DataLoss) as together:
                opened_values(Table.VECTORS, keys, views, Kind.ROW)
            assert (together.value.reason, together.value.field, str(together.value)) == (
                alone.value.reason,
                alone.value.field,
                str(alone.value),
            )


@pytest.mark.parametrize("length", [0, 5, 31, 32, 71])
def test_one_that_is_cut_off_is_told(length: int) -> None:
    keys = [b"first", b"second"]
    values = [memoryview(seal(key, b"y" * 40, Kind.RECORD)) for key in keys]
    with pytest.raises(DataLoss) as refused:
        opened_values(Table.CLIPS, keys, [values[0], values[1][:length]], Kind.RECORD)
    assert refused.value.field == f"clips/{keys[1].hex()}"


def test_one_under_anothers_key_or_of_another_kind_is_told() -> None:
    value = memoryview(seal(b"mine", b"z", Kind.RECORD))
    for key, kind, reason in (
        (b"else", Kind.RECORD, "CHECKSUM"),
        (b"mine", Kind.BLOB, "WRONG_KIND"),
    ):
        with pytest.raises(DataLoss) as refused:
            opened_values(Table.CLIPS, [key], [value], kind)
        assert refused.value.reason == reason


def test_a_value_that_is_whole_and_no_record_is_named() -> None:
    keys = [b"first", b"second", b"third"]
    payloads = [encode_record(NumberRecord(7)), b"\xc1", encode_record(NumberRecord(9))]
    values = [
        memoryview(seal(key, payload, Kind.RECORD))
        for key, payload in zip(keys, payloads, strict=True)
    ]
    block = opened_values(Table.META, keys, values, Kind.RECORD)
    records = decoded(Table.META, block.keys, block.payloads(), NumberRecord)
    assert next(records).no == 7
    with pytest.raises(DataLoss) as refused:
        next(records)
    assert (refused.value.reason, refused.value.field) == ("BAD_RECORD", f"meta/{keys[1].hex()}")
