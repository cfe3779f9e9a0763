"""Memory files of the reference system become clips: generated files of its exact shapes."""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from memdb import InvalidArgument, NotFound  # noqa: E402 - after the check
from memdb_client import connect  # noqa: E402
from perception.import_ixc import load, main, write  # noqa: E402
from tests.congruence.server import ServerThread  # noqa: E402

DIM = 1536
FRAMES = (16, 3, 9)


def files(folder: Path, *, selected: int | None = None, dim: int = DIM) -> tuple[Path, Path]:
    """``temp_glb.pth`` and ``temp_lol_mem.pth`` as the system saves them: fp16, 4 tokens a frame."""
    torch.manual_seed(1)
    glb = torch.randn(len(FRAMES), dim, dtype=torch.float16)
    lol = [torch.randn(4 * frames, dim, dtype=torch.float16) for frames in FRAMES][:selected]
    torch.save(glb, folder / "temp_glb.pth")
    torch.save(lol, folder / "temp_lol_mem.pth")
    return folder / "temp_glb.pth", folder / "temp_lol_mem.pth"


def run(capsys: pytest.CaptureFixture[str], address: str, *given: object) -> tuple[int, Any, str]:
    where = ["--server", address, "--user", "alice", "--stream", "door", "--space", "ixc"]
    status = main([*map(str, given), *where])
    told = capsys.readouterr()
    return status, json.loads(told.out) if told.out else None, told.err


def test_both_files_give_clips_with_both_memories_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    glb, lol = files(tmp_path)
    with ServerThread(tmp_path / "data") as server, connect(server.address) as db:
        for written in (3, 0):
            status, told, _ = run(
                capsys,
                server.address,
                *(glb, lol, "--start", "2026-01-05T09:00:00Z", "--label", "zone=porch"),
            )
            assert (status, told["clips_written"], told["clips_present"]) == (
                0,
                written,
                3 - written,
            )
        assert db.space("ixc").dim == DIM
        user = db.user("alice")
        clips = user.clips()
        wanted = torch.load(glb, weights_only=True).numpy()
        shorts = torch.load(lol, weights_only=True)
        assert [clip.seq for clip in clips] == [0, 1, 2]
        for clip, vector, short, frames in zip(clips, wanted, shorts, FRAMES, strict=True):
            assert np.array_equal(clip.global_memory, vector)
            assert clip.end_ns - clip.start_ns == frames * 10**9
            (stored,) = user.short_memory([clip.id])
            assert np.array_equal(stored, short.numpy())
        hits = user.ground(wanted[1].astype(np.float32), limit=1).hits
        assert hits[0].clip.seq == 1
        assert hits[0].clip.labels == {"source": "ixc2.5-ol", "zone": "porch"}
        assert db.verify().ok
        status, _, said = run(capsys, server.address, glb, "--label", "source=ours")
        assert (status, "label" in said, "NOT_USED" in said) == (2, True, True)
        status, _, said = run(capsys, server.address, glb)  # without the other file's tensors
        assert (status, "SEQ_REUSED" in said, "--epoch N" in said) == (1, True, True)
        status, told, _ = run(capsys, server.address, glb, "--epoch", 1)
        assert (status, told["clips_written"]) == (0, 3)


def test_a_result_that_cannot_be_written_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    glb, _ = files(tmp_path)
    with ServerThread(tmp_path / "data") as server, Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        status, _, said = run(capsys, server.address, glb)
    assert (status, said.count("\n"), "OUTPUT_LOST" in said) == (1, 1, True)


def test_one_file_alone(tmp_path: Path) -> None:
    glb, lol = files(tmp_path, selected=2)
    with pytest.raises(InvalidArgument) as refused:
        load([glb, lol])
    assert refused.value.reason == "CLIPS_MISMATCH"
    with ServerThread(tmp_path / "data") as server, connect(server.address) as db:
        report = write(db, load([glb]), user="a", stream="glb", space="ixc")
        assert (report.clips_written, report.frames) == (3, 48)
        report = write(db, load([lol]), user="a", stream="lol", space="ixc")
        assert (report.clips_written, report.frames) == (2, 19)
        mean = torch.load(lol, weights_only=True)[0].float().mean(dim=0).numpy()
        (first, _) = db.user("a").clips(stream="lol")
        assert np.allclose(first.global_memory, mean, atol=1e-5)


class Evil:
    """Runs something when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path("ran").touch, ())


def test_nothing_in_a_file_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save([Evil()], tmp_path / "temp_lol_img.pth")
    status, _, told = run(capsys, "localhost:1", tmp_path / "temp_lol_img.pth")
    assert (status, "BAD_FILE" in told) == (1, True)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "held",
    [
        [],
        [torch.zeros(4, dtype=torch.int64)],
        torch.zeros(3, 4, 5, 6),
        torch.zeros(0, 4),
        {"a": torch.zeros(2, 2)},
        ["text"],
    ],
    ids=["empty", "integers", "shape", "no rows", "dict", "text"],
)
def test_other_contents_are_refused(tmp_path: Path, held: object) -> None:
    torch.save(held, tmp_path / "temp_lol_mem.pth")
    with pytest.raises(InvalidArgument) as refused:
        load([tmp_path / "temp_lol_mem.pth"])
    assert refused.value.reason == "BAD_FILE"


def test_another_shape_is_told_which_is_taken(tmp_path: Path) -> None:
    """A stack of all memories in one tensor is what somebody with a model of her own saves first."""
    torch.save(torch.ones(4, 16, DIM), tmp_path / "temp_lol_mem.pth")
    with pytest.raises(
        InvalidArgument, match=r"\(4, 16, .*a matrix \(rows, dim\) or a list of them"
    ):
        load([tmp_path / "temp_lol_mem.pth"])


def test_the_help_says_which_file_is_which(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "`glb` in its name" in " ".join(capsys.readouterr().out.split())


def test_files_that_are_absent_or_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        load([tmp_path / "temp_glb.pth"])
    glb, _ = files(tmp_path, dim=8)
    (tmp_path / "other").mkdir()
    _, lol = files(tmp_path / "other", dim=16)
    with pytest.raises(InvalidArgument) as refused:
        load([glb, lol])
    assert refused.value.reason == "DIM_MISMATCH"


def test_what_says_that_it_is_larger_than_its_file_is_refused(tmp_path: Path) -> None:
    glb = tmp_path / "temp_glb.pth"
    torch.save(torch.zeros(1, 1).expand(2000, 4096), glb)
    assert glb.stat().st_size < 4096
    with pytest.raises(InvalidArgument) as refused:
        load([glb])
    assert refused.value.reason == "BAD_FILE"
    one = torch.zeros(100, 8)
    torch.save([one] * 1000, glb)
    with pytest.raises(InvalidArgument) as refused:
        load([glb])
    assert refused.value.reason == "BAD_FILE"


def test_a_compressed_file_is_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    glb, _ = files(tmp_path, dim=8)
    packed = tmp_path / "packed_glb.pth"
    with zipfile.ZipFile(glb) as whole, zipfile.ZipFile(packed, "w") as small:
        for part in whole.infolist():
            small.writestr(part.filename, whole.read(part), zipfile.ZIP_DEFLATED)
    load([glb])
    monkeypatch.setattr(torch, "load", lambda *_args, **_options: pytest.fail("it was read"))
    with pytest.raises(InvalidArgument) as refused:
        load([packed])
    assert refused.value.reason == "BAD_FILE"


def test_what_holds_something_else_than_tensors_is_refused(
    tmp_path: Path,
) -> None:
    """Sizes alone, without elements; a file of a later way to pack; a name that is no text."""
    hollow = tmp_path / "temp_glb_hollow.pth"
    torch.save(torch.ones(2, DIM, device="meta"), hollow)
    glb, _ = files(tmp_path)
    whole = glb.read_bytes()
    listed = whole.rindex(b"PK\x01\x02")
    later, nameless = tmp_path / "temp_glb_later.pth", tmp_path / "temp_glb_nameless.pth"
    later.write_bytes(whole[: listed + 6] + b"\xff" + whole[listed + 7 :])
    bits = whole[: listed + 8] + b"\x00\x08" + whole[listed + 10 :]
    nameless.write_bytes(bits[: listed + 46] + b"\xe9" + bits[listed + 47 :])
    for file in (hollow, later, nameless):
        with pytest.raises(InvalidArgument) as refused:
            load([file])
        assert (refused.value.reason, refused.value.value) == ("BAD_FILE", file.name)


def test_a_name_that_the_system_refuses_is_told_as_an_absent_file() -> None:
    with pytest.raises(NotFound, match="no such file: File name too long"):
        load([Path("a" * 300)])
