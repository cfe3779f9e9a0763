"""open_clip towers: shapes and the loading of a checkpoint.  The weights are random and small, so
nothing here says anything about meaning."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from memdb import InvalidArgument
from perception.encoders import load_encoder
from perception.encoders.openclip import OpenClipEncoder, declare_absent_operators

TINY = "memdb-test-tiny"
DIM = 32


@pytest.fixture(scope="module", autouse=True)
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Makes the smallest sensible pair of towers known to open_clip."""
    declare_absent_operators()
    open_clip = pytest.importorskip("open_clip")
    path = tmp_path_factory.mktemp("configs") / f"{TINY}.json"
    vision = {"image_size": 32, "layers": 2, "width": 64, "patch_size": 16}
    text = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 1}
    path.write_text(json.dumps({"embed_dim": DIM, "vision_cfg": vision, "text_cfg": text}))
    open_clip.add_model_config(path)


@pytest.fixture
def frames() -> list[np.ndarray]:
    generator = np.random.default_rng(3)
    return [generator.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(3)]


def test_shapes(frames: list[np.ndarray]) -> None:
    encoder = OpenClipEncoder(TINY)
    features = encoder.encode_frames(frames)
    assert features.frame_vectors.shape == (3, DIM)
    assert features.region_tokens.shape == (3, encoder.tokens_per_frame, DIM)
    assert encoder.encode_texts(["a cat", "a dog"]).shape == (2, DIM)
    assert np.linalg.norm(features.frame_vectors, axis=1) == pytest.approx(1.0, abs=1e-5)
    assert features.labels == ((), (), ())


def test_random_weights_say_so() -> None:
    space = OpenClipEncoder(TINY).space
    assert space.name.startswith("random-")
    assert "@random-" in space.model


def test_a_checkpoint_is_loaded_and_names_the_space(
    tmp_path: Path, frames: list[np.ndarray]
) -> None:
    made = OpenClipEncoder(TINY)
    path = tmp_path / "tiny.pt"
    torch.save(made._network.state_dict(), path)
    first, second = (load_encoder(f"open_clip:{TINY}:{path}") for _ in range(2))
    assert np.array_equal(
        first.encode_frames(frames).frame_vectors, made.encode_frames(frames).frame_vectors
    )
    assert first.space == second.space
    assert first.space.name == f"clip-{TINY}"
    assert first.space.dim == DIM


def test_unknown_names_are_refused() -> None:
    for name in ("clip", "open_clip:", "open_clip:no-such-model", f"open_clip:{TINY}:/no/file"):
        with pytest.raises(InvalidArgument):
            load_encoder(name)


def test_a_checkpoint_that_is_neither_file_nor_tag_is_refused_in_one_line() -> None:
    with pytest.raises(InvalidArgument) as caught:
        load_encoder("open_clip:ViT-B-32:nofile")
    assert (caught.value.reason, caught.value.field) == ("NO_CHECKPOINT", "encoder.checkpoint")
    assert len(str(caught.value)) < 150
