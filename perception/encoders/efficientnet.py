"""EfficientNet-lite0: a frame's ImageNet classes and pooled features, on CPU.

The network of Tan and Le, *EfficientNet* (ICML 2019), in its published "lite" form: no
squeeze-and-excitation, ReLU6 for swish, stem and head not scaled.  The weights are a TensorFlow
training, so convolutions pad as TensorFlow's SAME does: at stride 2 the odd pixel goes to the right
and below.

Batch normalisation is folded into the convolution before it when the weights are loaded; the
network that runs is convolutions, ReLU6 and one linear layer, in channels-last memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

INPUT_PIXELS: Final = 224
FEATURES: Final = 1280
CLASSES: Final = 1000

_BATCH_NORM_EPSILON: Final = 1e-3


class _Stage(NamedTuple):
    """Consecutive inverted residual blocks of one width."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    channels: int


_STEM_CHANNELS: Final = 32
_STAGES: Final = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)


class EfficientNetLite0(nn.Module):
    """(n, 3, 224, 224) pictures, scaled as `normalise` does, to class scores and pooled
    features.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = _SameConv(3, _STEM_CHANNELS, kernel=3, stride=2)
        blocks: list[nn.Module] = []
        channels = _STEM_CHANNELS
        for stage in _STAGES:
            for index in range(stage.blocks):
                stride = stage.stride if index == 0 else 1
                blocks.append(
                    _Block(channels, stage.channels, stage.kernel, stride, stage.expansion)
                )
                channels = stage.channels
        self.blocks = nn.Sequential(*blocks)
        self.head = _SameConv(channels, FEATURES, kernel=1)
        self.classifier = nn.Linear(FEATURES, CLASSES)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """((n, 1000) class scores before softmax, (n, 1280) pooled features)."""
        x = functional.relu6(self.stem(pictures), inplace=True)
        x = self.blocks(x)
        features = functional.relu6(self.head(x), inplace=True).mean((2, 3))
        return self.classifier(features), features


def load_efficientnet(path: Path) -> EfficientNetLite0:
    """The network with the weights of the published checkpoint, ready to run.

    Raises ValueError when the checkpoint's names or shapes are not exactly the network's.
    """
    # weights_only: tensors and nothing else leave this file; its bytes are pinned besides.
    checkpoint: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    network = EfficientNetLite0()
    network.load_state_dict(_folded(checkpoint), strict=True)
    network.requires_grad_(False)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch stubs no layout alone
    return network.eval()


def normalise(pictures: Tensor) -> Tensor:
    """uint8 values as the network was trained on: (value − 127) / 128."""
    return (pictures.to(torch.float32) - 127.0) / 128.0


class _SameConv(nn.Conv2d):
    """A convolution padded as TensorFlow's SAME, for inputs whose sides the stride divides."""

    def __init__(
        self, inputs: int, outputs: int, *, kernel: int, stride: int = 1, groups: int = 1
    ) -> None:
        # At stride 1 the padding is even, and the convolution's own, which is quicker.
        padding = (kernel - 1) // 2 if stride == 1 else 0
        super().__init__(inputs, outputs, kernel, stride, padding, groups=groups)
        before = (kernel - stride) // 2
        self.outer = (before, kernel - stride - before) * 2 if stride > 1 else None

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x if self.outer is None else functional.pad(x, self.outer))


class _Block(nn.Module):
    """Inverted residual: widen, convolve each channel, narrow; the input is added where shapes
    agree.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.expand = _SameConv(inputs, inner, kernel=1) if expansion > 1 else None
        self.depthwise = _SameConv(inner, inner, kernel=kernel, stride=stride, groups=inner)
        self.project = _SameConv(inner, outputs, kernel=1)
        self.is_residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x if self.expand is None else functional.relu6(self.expand(x), inplace=True)
        y = self.project(functional.relu6(self.depthwise(y), inplace=True))
        return x + y if self.is_residual else y


def _folded(checkpoint: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The checkpoint's tensors under our names, each batch normalisation folded into its
    convolution.
    """
    left = {name: value for name, value in checkpoint.items() if "num_batches" not in name}
    folded: dict[str, Tensor] = {}
    try:
        for ours, conv, norm in _layer_names():
            weight = left.pop(f"{conv}.weight").double()
            gamma, beta, mean, variance = (
                left.pop(f"{norm}.{part}").double()
                for part in ("weight", "bias", "running_mean", "running_var")
            )
            scale = gamma / torch.sqrt(variance + _BATCH_NORM_EPSILON)
            folded[f"{ours}.weight"] = (weight * scale[:, None, None, None]).float()
            folded[f"{ours}.bias"] = (beta - mean * scale).float()
        for part in ("weight", "bias"):
            folded[f"classifier.{part}"] = left.pop(f"_fc.{part}")
    except KeyError as error:
        raise ValueError(f"the checkpoint lacks {error.args[0]}") from error
    if left:
        raise ValueError(f"the checkpoint has {', '.join(sorted(left))} besides")
    return folded


def _layer_names() -> list[tuple[str, str, str]]:
    """Our name of every convolution, the checkpoint's, and that of the normalisation after it."""
    names = [("stem", "_conv_stem", "_bn0"), ("head", "_conv_head", "_bn1")]
    expansions = [stage.expansion for stage in _STAGES for _ in range(stage.blocks)]
    for index, expansion in enumerate(expansions):
        ours, theirs = f"blocks.{index}", f"_blocks.{index}"
        if expansion > 1:
            names.append((f"{ours}.expand", f"{theirs}._expand_conv", f"{theirs}._bn0"))
        names.append((f"{ours}.depthwise", f"{theirs}._depthwise_conv", f"{theirs}._bn1"))
        names.append((f"{ours}.project", f"{theirs}._project_conv", f"{theirs}._bn2"))
    return names
