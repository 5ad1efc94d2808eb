"""Facts about a network that the runtime needs: its stage and its input sizes."""

from dataclasses import dataclass

from torch import nn

from restora.artifact import Kind
from restora.errors import ModelError
from restora_export.reference import GFPGAN, ParseNet, RetinaFace, RRDBNet, SRVGGNetCompact


@dataclass(frozen=True, slots=True)
class NetworkFacts:
    """Facts about a network. The fields are those of ArtifactInfo."""

    kind: Kind
    scale: int = 1
    size_multiple: int = 1
    side: int | None = None


def facts_of(network: nn.Module) -> NetworkFacts:
    """The facts about a reference network. Raises ModelError for other networks."""
    if isinstance(network, RRDBNet | SRVGGNetCompact):
        return NetworkFacts("upsampler", network.scale, network.size_multiple)
    if isinstance(network, GFPGAN):
        return NetworkFacts("face", side=network.side)
    if isinstance(network, RetinaFace):
        return NetworkFacts("detector")
    if isinstance(network, ParseNet):
        return NetworkFacts("parser", side=network.side)
    raise ModelError(f"{type(network).__name__} is not a reference network")
