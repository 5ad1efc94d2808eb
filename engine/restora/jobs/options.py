"""Options of restore_folder and restore_file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from restora.checks import check_choice, check_flag, check_whole, set_checked
from restora.errors import OptionError
from restora.image import PhotoLimits
from restora.jobs.devices import Devices, check_devices
from restora.jobs.inputs import Ext
from restora.upsample import check_outscale

OnError = Literal["skip", "stop"]
_FLAGS = (
    "strip_metadata", "compare", "save_faces", "save_mask", "aligned", "recursive", "overwrite",
    "retry_failed",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How files are read, named and written, and how a run continues. Raises OptionError for an
    invalid value, when the options are made.

    ext: format of results: "jpg", "png", "webp", "tiff"; "auto": the input's own, or png
    suffix: added to the names of results as NAME_SUFFIX
    quality: of JPEG and WebP, 1..100; higher is better
    strip_metadata: drop ICC, EXIF and XMP
    compare: also write a before | after picture, NAME_compare.jpg
    save_faces: also write cropped_faces/, restored_faces/ and cmp/ into the output folder
    save_mask: also write what was repaired, white on black, as NAME_mask.png; needs a Restorer
        with damage=DamageOptions()
    outscale: final enlargement; None: the network's own
    aligned: every input is one aligned face
    recursive: go into subfolders
    overwrite: replace results that exist, and restore again what is done
    retry_failed: try again what failed, or crashed the process, in earlier runs
    on_error: "skip": a failed photo costs only itself; "stop": it ends the run
    limits: limits of inputs
    memory: limit of the process and its decoders in bytes; None: photos may take half of
        the free memory. Holds for the resident size after restora.malloc.return_freed_memory()
    manifest: file of the run's journal; None: .restora/manifest.jsonl in the output folder for
        folders, no journal for a single photo
    devices: GPUs such as ("gpu:0", "gpu:1"), or "all": a process for each takes photos of the
        folder from one queue, and `memory` is divided among them; a single photo is restored on the
        first. Instead of a Restorer the run takes a function that can be pickled and is called with
        device=, such as functools.partial(Restorer, "restora-lite-x2"). None: the Restorer's own
        device
    """

    ext: Ext = "auto"
    suffix: str = ""
    quality: int = 95
    strip_metadata: bool = False
    compare: bool = False
    save_faces: bool = False
    save_mask: bool = False
    outscale: float | None = None
    aligned: bool = False
    recursive: bool = False
    overwrite: bool = False
    retry_failed: bool = False
    on_error: OnError = "skip"
    limits: PhotoLimits = field(default_factory=PhotoLimits)
    memory: int | None = None
    manifest: Path | None = None
    devices: Devices | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.suffix, str) or any(mark in self.suffix for mark in "/\\\0"):
            raise OptionError(f"suffix must be part of a file name, got {self.suffix!r}")
        if not isinstance(self.limits, PhotoLimits):
            raise OptionError(f"limits must be PhotoLimits, got {self.limits!r}")
        outscale, memory, manifest = self.outscale, self.memory, self.manifest
        set_checked(
            self,
            ext=check_choice("ext", self.ext, get_args(Ext)),
            quality=check_whole("quality", self.quality, minimum=1, maximum=100),
            outscale=outscale if outscale is None else check_outscale(outscale),
            on_error=check_choice("on_error", self.on_error, get_args(OnError)),
            memory=memory if memory is None else check_whole("memory", memory, minimum=1),
            manifest=manifest if manifest is None else Path(manifest),
            devices=None if self.devices is None else check_devices(self.devices),
            **{name: check_flag(name, getattr(self, name)) for name in _FLAGS},
        )
