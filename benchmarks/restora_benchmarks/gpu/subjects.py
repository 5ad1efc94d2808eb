"""What is built and measured: the networks, their tiles and batches."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from restora.artifact import Kind
from restora.sessions import PlanOptions

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True)
class Subject:
    """One network. Recipe weights, save for the bundled model: speed does not depend on them.

    side   of a tile or a face, in input pixels
    batch  of those at once
    """

    name: str
    kind: Kind
    scale: int
    side: int
    batch: int
    max_tile: int

    @property
    def plans(self) -> PlanOptions:
        return PlanOptions(tile=self.side, batches=(self.batch,), max_tile=self.max_tile)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return (self.batch, self.side, self.side, 3)


SUBJECTS = (
    Subject("restora-lite-x2", "upsampler", 2, 256, 4, 512),
    Subject("realesr-general-x4v3", "upsampler", 4, 256, 4, 512),
    Subject("RealESRGAN_x2plus", "upsampler", 2, 256, 4, 512),
    Subject("RealESRGAN_x4plus", "upsampler", 4, 256, 4, 512),
    Subject("GFPGANv1.4", "face", 1, 512, 8, 512),
)
LITE_WEIGHTS = Path("calibration/weights/restora-lite-x2.safetensors")  # in the source tree
# for tests and for trying the commands out
TINY = (Subject("tiny", "upsampler", 2, 32, 2, 64),)


def choose_subjects(names: str) -> tuple[Subject, ...]:
    """Those of a list with commas, or all for "all". Raises SystemExit for an unknown name."""
    known = {subject.name: subject for subject in (*SUBJECTS, *TINY)}
    if names == "all":
        return SUBJECTS
    unknown = [name for name in names.split(",") if name not in known]
    if unknown:
        raise SystemExit(f"unknown subjects: {', '.join(unknown)}; known: {', '.join(known)}")
    return tuple(known[name] for name in names.split(","))


def make_network(subject: Subject) -> nn.Module:
    """The PyTorch reference, in eval mode. Needs the extra `export`."""
    from restora_benchmarks.recipe import fill_network
    from restora_export.reference import GFPGANv1Clean, RRDBNet, SRVGGNetCompact

    if subject.name == "restora-lite-x2":
        return _load_lite()
    if subject.kind == "face":
        return fill_network(GFPGANv1Clean(channel_multiplier=2), 0, "gfpgan_clean")
    if subject.name == "realesr-general-x4v3":
        return fill_network(SRVGGNetCompact(4, 64, 32), 0, "srvgg")
    if subject.name == "tiny":
        return fill_network(SRVGGNetCompact(2, 8, 2), 0, "srvgg")
    return fill_network(RRDBNet(subject.scale), 0, "rrdb")


def _load_lite() -> nn.Module:
    from restora_export.checkpoint import load_checkpoint, network_from_checkpoint

    return network_from_checkpoint(load_checkpoint(LITE_WEIGHTS))
