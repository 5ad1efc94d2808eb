"""Networks of known shape, which can be measured without a published checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from restora.artifact import Kind, Precision

BUNDLED = ("restora-lite-x2", "restora-fast-x4")
# where weights of bundled models are if the wheel does not hold them
BUNDLED_WEIGHTS = Path("calibration/weights")


@dataclass(frozen=True, slots=True)
class Network:
    """One network of known shape, with synthetic weights drawn by recipe, or those of a
    bundled model. Speed does not depend on weights, accuracy does."""

    name: str
    kind: Kind
    scale: int

    def make(self) -> nn.Module:
        """The PyTorch reference, in eval mode. Needs the extra `export`.

        Raises LookupError for a bundled model outside of the source tree.
        """
        from restora_benchmarks.recipe import fill_network
        from restora_export.reference import GFPGANv1Clean, RRDBNet, SRVGGNetCompact

        if self.name in BUNDLED:
            return _load_bundled(self.name)
        if self.kind == "face":
            return fill_network(GFPGANv1Clean(channel_multiplier=2), 0, "gfpgan_clean")
        if self.name == "realesr-general-x4v3":
            return fill_network(SRVGGNetCompact(4, 64, 32), 0, "srvgg")
        if self.name == "tiny":
            return fill_network(SRVGGNetCompact(2, 8, 2), 0, "srvgg")
        if self.name == "realesr-animevideov3":
            return fill_network(SRVGGNetCompact(4, 64, 16), 0, "srvgg")
        blocks = 6 if self.name == "RealESRGAN_x4plus_anime_6B" else 23
        return fill_network(RRDBNet(self.scale, blocks=blocks), 0, "rrdb")

    def export(self, path: Path, precision: Precision = "fp32") -> None:
        """Write the artifact, which passes the exporter's own gate. Needs the extra `export`."""
        from restora.atomic import write_atomically
        from restora_export.export import export_network

        exported = export_network(
            self.make(),
            model=self.name,
            architecture=self.name,
            weights_sha256="0" * 64,
            precision=precision,
            report=lambda _step: None,
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, exported.artifact.onnx)


NETWORKS = (
    Network("restora-lite-x2", "upsampler", 2),
    Network("realesr-general-x4v3", "upsampler", 4),
    Network("RealESRGAN_x2plus", "upsampler", 2),
    Network("RealESRGAN_x4plus", "upsampler", 4),
    Network("GFPGANv1.4", "face", 1),
)
# not among those that a GPU must prove: their layers are those of larger networks
SMALLER = (
    Network("restora-fast-x4", "upsampler", 4),
    Network("RealESRGAN_x4plus_anime_6B", "upsampler", 4),
    Network("realesr-animevideov3", "upsampler", 4),
)
# for tests, and for trying commands out
TINY = Network("tiny", "upsampler", 2)


def _load_bundled(name: str) -> nn.Module:
    from restora.models import find_model
    from restora_export.checkpoint import load_checkpoint, network_from_checkpoint

    weights = find_model(name).checkpoint or BUNDLED_WEIGHTS / f"{name}.safetensors"
    if not weights.is_file():
        raise LookupError(f"the weights of {name} are not here: {weights}")
    return network_from_checkpoint(load_checkpoint(weights))
