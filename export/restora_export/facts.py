"""What the runtime must know of a network: its stage and the sizes it takes."""

from dataclasses import dataclass

from torch import nn

from restora.artifact import Kind
from restora.errors import ModelError
from restora_export.reference import GFPGAN, ParseNet, RetinaFace, RRDBNet, SRVGGNetCompact


@dataclass(frozen=True, slots=True)
class NetworkFacts:
    """Of one network; the fields are those of ArtifactInfo."""

    kind: Kind
    scale: int = 1
    size_multiple: int = 1
    side: int | None = None


def facts_of(network: nn.Module) -> NetworkFacts:
    """Raises ModelError for a network that is none of the references."""
    if isinstance(network, RRDBNet | SRVGGNetCompact):
        return NetworkFacts("upsampler", network.scale, network.size_multiple)
    if isinstance(network, GFPGAN):
        return NetworkFacts("face", side=network.side)
    if isinstance(network, RetinaFace):
        return NetworkFacts("detector")
    if isinstance(network, ParseNet):
        return NetworkFacts("parser", side=network.side)
    raise ModelError(f"{type(network).__name__} is none of the reference networks")
