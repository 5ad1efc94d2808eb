"""The exported form of a network: images in, images out, with all conversions inside."""

import copy

import torch
from torch import Tensor, nn

from restora.artifact import Io, Precision
from restora_export.damage_graph import DamageDetectorGraph, RepairerGraph
from restora_export.face_graph import ConstantGFPGAN
from restora_export.reference import (
    GFPGAN,
    DamageDetector,
    ParseNet,
    Repairer,
    RetinaFace,
    RRDBNet,
)
from restora_export.rrdb_graph import FoldedRRDBNet


class HalfNetwork(nn.Module):
    """A network in FP16 with FP32 input and output."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.half()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.network(x.half())
        return y.float()


def network_for_export(
    network: nn.Module, *, precision: Precision = "fp32", noise: float = 1.0
) -> nn.Module:
    """Convert a network to its exported form: (batch, 3, h, w) in 0..1, FP32 input and output.

    noise: for a face network, the factor of its stored noise
    """
    if isinstance(network, GFPGAN):
        dtype = torch.float16 if precision == "fp16" else torch.float32
        return ConstantGFPGAN(network, noise=noise, dtype=dtype)
    folded = FoldedRRDBNet(network) if isinstance(network, RRDBNet) else network
    return HalfNetwork(copy.deepcopy(folded)) if precision == "fp16" else folded


class PictureGraph(nn.Module):
    """A network on NHWC RGB images, uint8 in 0..255 or float32 in 0..1.

    network: a result of network_for_export

    Conversion, clipping and rounding are part of the graph. The second output, (batch, 3), holds
    the mean of each channel before clipping, which is NaN or Inf if any value is.
    """

    def __init__(self, network: nn.Module, io: Io) -> None:
        super().__init__()
        self.network = network
        self.io = io

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        x = image.to(torch.float32).permute(0, 3, 1, 2)
        if self.io == "uint8":
            x = x * (1 / 255)
        y = self.network(x)
        means = y.mean((2, 3))
        if self.io == "uint8":
            return (y * 255 + 0.5).clamp(0, 255).permute(0, 2, 3, 1).to(torch.uint8), means
        return y.clamp(0, 1).permute(0, 2, 3, 1), means


class DetectorGraph(nn.Module):
    """RetinaFace on NHWC RGB uint8 images. Returns (batch, anchors, 16), float32.

    A row has 4 box offsets, the probabilities of "nothing" and "face", and 10 landmark offsets.
    Color order and mean subtraction (R 123, G 117, B 104) are part of the graph. The second output
    holds the means of the rows.
    """

    def __init__(self, network: RetinaFace) -> None:
        super().__init__()
        self.network = copy.deepcopy(network)
        first = self.network.body.conv1
        first.weight = nn.Parameter(first.weight.detach().flip(1))  # the input is RGB
        self.means = nn.Buffer(torch.tensor([123.0, 117.0, 104.0]).view(1, 3, 1, 1))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        x = image.to(torch.float32).permute(0, 3, 1, 2) - self.means
        rows = torch.cat(self.network(x), 2)
        return rows, rows.mean(1)


class ParserGraph(nn.Module):
    """ParseNet on NHWC RGB uint8 images. Returns the labels, (batch, side, side, 1), uint8.

    The second output holds the means of the scores, (batch, labels).
    """

    def __init__(self, network: ParseNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        x = image.to(torch.float32).permute(0, 3, 1, 2) * (2 / 255) - 1
        scores, _ = self.network(x)
        labels = scores.argmax(1).unsqueeze(3)
        # TensorRT casts only floats to uint8, and only for an output of the network
        return labels.to(torch.float32).to(torch.uint8), scores.mean((2, 3))


def make_graph(
    network: nn.Module, *, io: Io, precision: Precision = "fp32", noise: float = 1.0
) -> nn.Module:
    """Make the graph to export: it maps (batch, height, width, 3) RGB to a result and its means."""
    if isinstance(network, RetinaFace):
        return DetectorGraph(network)
    if isinstance(network, ParseNet):
        return ParserGraph(network)
    if isinstance(network, DamageDetector):
        return DamageDetectorGraph(network, precision)
    if isinstance(network, Repairer):
        return RepairerGraph(network, precision)
    return PictureGraph(network_for_export(network, precision=precision, noise=noise), io)
