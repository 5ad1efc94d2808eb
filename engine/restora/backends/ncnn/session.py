"""Run artifacts with ncnn, on the CPU or on a GPU with Vulkan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from restora.artifact import Artifact, ArtifactInfo
from restora.artifact.split import GraphParts
from restora.artifact.tensors import INPUT
from restora.backends.base import Batch, SizeLimits
from restora.backends.cores import count_allowed_cores
from restora.backends.ncnn.builder import DATA, RESULT
from restora.backends.ncnn.convert import network_from_artifact
from restora.backends.ncnn.frame import Frame, Planes
from restora.backends.ncnn.module import VulkanDevice, import_ncnn
from restora.backends.ncnn.net import Arithmetic, NcnnNet
from restora.backends.options import CpuOptions
from restora.backends.shell import NetworkSession
from restora.backends.two_parts import Compute, TwoParts, limits_of_parts, split_upsampler

FP32 = Arithmetic()
# memory for each element of the largest tensor: Winograd convolutions hold scratch memory of
# several times its size. Measured with RRDBNet: 47 in FP32, 37 in bfloat16
BYTES_PER_ELEMENT = 48
_ELEMENTS = 128  # a pixel of the largest tensor, where the artifact does not say


class NcnnSession(NetworkSession[Compute]):
    """A session on the CPU, or on a GPU of any vendor.

    options: for the CPU; of them, only `threads` is used
    device: the Vulkan device; None runs on the CPU
    half_weights: round the weights of convolutions to FP16

    The caller must check the accuracy. Images of a batch run one after the other.
    """

    def __init__(
        self,
        artifact: Artifact,
        options: CpuOptions | None = None,
        *,
        arithmetic: Arithmetic = FP32,
        device: VulkanDevice | None = None,
        half_weights: bool = False,
    ) -> None:
        self.threads = (options or CpuOptions()).threads or count_allowed_cores()
        self._arithmetic, self._device, self._half_weights = arithmetic, device, half_weights
        self._ncnn = import_ncnn()
        self._parts = split_upsampler(artifact)
        where = f"{self.threads} threads" if device is None else f"Vulkan, {device.name}"
        super().__init__(
            artifact,
            runtime=f"ncnn {self._ncnn.__version__}",
            setup=f"{arithmetic.describe()}, {where}",
            limits=_limits(artifact.info, self._parts),
        )

    @property
    def precision(self) -> str:
        return self._arithmetic.storage

    def _load(self, artifact: Artifact) -> Compute:
        parts = self._parts
        cut = None if parts is None else parts.features
        network = network_from_artifact(artifact, features=cut)
        net = NcnnNet(
            self._ncnn,
            network,
            self._arithmetic,
            threads=self.threads,
            device=self._device,
            half_weights=self._half_weights,
        )
        if parts is None or network.features is None:
            return lambda batch: _run_whole(net, network.frame, batch)
        halves = _Halves(net, network.frame, parts.features, network.features)
        return TwoParts(parts, halves.trunk, halves.head, scale=self._info.scale).compute

    def _compute(self, network: Compute, batch: Batch) -> tuple[Any, Any]:
        return network(batch)


class _Halves:
    """Both parts of a network are runs of one loaded network, up to a blob and from it.

    tensor, blob: the features between them, in the artifact and in ncnn
    """

    def __init__(self, net: NcnnNet, frame: Frame, tensor: str, blob: str) -> None:
        self._net, self._frame, self._tensor, self._blob = net, frame, tensor, blob

    def trunk(
        self, inputs: Mapping[str, NDArray[Any]], _outputs: Sequence[str]
    ) -> list[NDArray[Any]]:
        features = [
            self._net.run(DATA, self._frame.planes_of(picture), self._blob)
            for picture in inputs[INPUT]
        ]
        return [np.stack(features)]

    def head(
        self, inputs: Mapping[str, NDArray[Any]], _outputs: Sequence[str]
    ) -> list[NDArray[Any]]:
        planes = [self._net.run(self._blob, part, RESULT) for part in inputs[self._tensor]]
        return list(_pictures_of(self._frame, planes, planes))


def _run_whole(net: NcnnNet, frame: Frame, batch: Batch) -> tuple[NDArray[Any], NDArray[Any]]:
    planes = [net.run(DATA, frame.planes_of(picture), RESULT) for picture in batch]
    return _pictures_of(frame, planes, batch)


def _pictures_of(
    frame: Frame, results: Sequence[Planes], given: Iterable[NDArray[Any]]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Images (batch, height, width, channels) in the io dtype, and their channel means.

    given: the images that the network saw; a network that is cut does not use them
    """
    images = np.empty((len(results), *results[0].shape[1:], frame.results), frame.io)
    means = np.array([planes.mean((1, 2)) for planes in results])
    for planes, image, seen in zip(results, images, given, strict=True):
        frame.write_picture(planes, image, seen)
    return images, means


def _limits(info: ArtifactInfo, parts: GraphParts | None) -> SizeLimits:
    limits = limits_of_parts(info, parts, bytes_per_element=BYTES_PER_ELEMENT)
    if parts is not None:
        return limits
    held = BYTES_PER_ELEMENT * (info.elements_per_pixel or _ELEMENTS)
    return replace(limits, bytes_per_pixel=held + 4 * 3 * info.scale**2)
