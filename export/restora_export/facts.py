"""Facts about a network that the runtime needs: its stage and its input sizes."""

from dataclasses import dataclass

from torch import nn

from restora.artifact import Kind
from restora.errors import ModelError
from restora_export.reference import (
    GFPGAN,
    DamageDetector,
    ParseNet,
    Repairer,
    RetinaFace,
    RRDBNet,
    SRVGGNetCompact,
)

# what is further away than half of it changes masks and fillings of tiles little
_DAMAGE_OVERLAP_PX = 64


@dataclass(frozen=True, slots=True)
class NetworkFacts:
    """Facts about a network. The fields are those of ArtifactInfo.

    overlap_px: None: it is measured, or the network does not run on tiles
    """

    kind: Kind
    scale: int = 1
    size_multiple: int = 1
    side: int | None = None
    overlap_px: int | None = None

    @property
    def input_channels(self) -> int:
        """RGB; and for a repairer the mask."""
        return 4 if self.kind == "repairer" else 3


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
    if isinstance(network, DamageDetector):
        return NetworkFacts(
            "damage-detector", size_multiple=network.size_multiple, overlap_px=_DAMAGE_OVERLAP_PX
        )
    if isinstance(network, Repairer):
        return NetworkFacts(
            "repairer", size_multiple=network.size_multiple, overlap_px=_DAMAGE_OVERLAP_PX
        )
    raise ModelError(f"{type(network).__name__} is not a reference network")
