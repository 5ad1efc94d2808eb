"""Options of `restora restore`, in the groups that its help shows."""

from pathlib import Path
from typing import Annotated, Literal

from restora.cli import panels
from restora.jobs.inputs import Ext

_quality = panels.in_panel("Quality")
_control = panels.in_panel("Run control")

Input = Annotated[
    Path,
    panels.files("--input", "-i", help="A photo, or a folder of photos; -: a photo from a pipe."),
]
Output = Annotated[
    Path,
    panels.files(
        "--output",
        "-o",
        help="A folder; or a file, if the input is one; -: standard output, as PNG or --ext.",
    ),
]
ResultExt = Annotated[
    Ext,
    panels.files(
        "--ext", help="Format of results. auto: as the input, or png if that cannot be written."
    ),
]
Suffix = Annotated[
    str,
    panels.files(help="Added to names as NAME_SUFFIX. Default: nothing."),
]
Recursive = Annotated[
    bool,
    panels.files("--recursive", "-r", help="Go into subfolders."),
]
StripMetadata = Annotated[
    bool,
    panels.files("--strip-metadata", help="Drop ICC, EXIF and XMP."),
]
Compare = Annotated[
    bool,
    panels.files("--compare", help="Also write a before | after picture."),
]
MaxOutputPixels = Annotated[
    int,
    panels.limits(min=1, help="Larger results are refused before any work is done."),
]

Model = Annotated[
    str,
    _quality(
        "--model",
        "--model-name",
        "-n",
        envvar="RESTORA_MODEL",
        help="A name listed by `restora models`, or the path of an .onnx artifact or of a .pth or "
        ".safetensors checkpoint; none to enlarge by interpolation, for faces only.",
    ),
]
DenoiseStrength = Annotated[
    float | None,
    _quality(
        "--denoise-strength",
        "-dn",
        help="0 keeps noise, 1 removes it; realesr-general-x4v3 only. Default: 1.",
    ),
]
AlphaUpsampler = Annotated[
    Literal["network", "realesrgan", "bilinear", "bicubic"],
    _quality(
        help="How transparency is enlarged: by the network (realesrgan is another name of it) or "
        "bilinear (bicubic is the published, misleading name of that)."
    ),
]
Quality = Annotated[
    int,
    _quality(min=1, max=100, help="Of JPEG and WebP; higher is better."),
]

TilePad = Annotated[
    int | None,
    panels.tiles(
        help="Half of the overlap of neighboring tiles. Default: as measured for the model."
    ),
]
TileBlend = Annotated[
    Literal["cosine", "linear", "crop"],
    panels.tiles("--blend", help="How tiles are joined; crop is the published hard cut."),
]
Compat = Annotated[
    Literal["upstream"] | None,
    panels.tiles(
        "--compat",
        help="upstream: tiles, padding, resizing, gray and pasting of faces as in the published "
        "scripts.",
    ),
]
PrePad = Annotated[
    int,
    panels.tiles(min=0, help="Pixels mirrored onto the right and lower side."),
]
Threads = Annotated[
    int,
    panels.tiles(min=0, envvar="RESTORA_THREADS", help="CPU threads; 0: all allowed cores."),
]

Overwrite = Annotated[
    bool,
    _control("--overwrite", help="Replace results that exist, and restore again what is done."),
]
OnError = Annotated[
    Literal["skip", "stop"],
    _control(help="skip: a failed photo costs only itself; stop: it ends the run."),
]
RetryFailed = Annotated[
    bool,
    _control("--retry-failed", help="Try again what failed in an earlier run."),
]
ManifestFile = Annotated[
    Path | None,
    _control(
        "--manifest",
        help="JSON lines of a run. Default: .restora/manifest.jsonl in a folder's output.",
    ),
]
JsonLines = Annotated[
    bool,
    _control("--json", help="One JSON object per file on stdout."),
]
DryRun = Annotated[
    bool,
    _control("--dry-run", help="Print what would be done, and do nothing."),
]


def parse_alpha(upsampler: str) -> Literal["network", "bilinear"]:
    return "network" if upsampler in ("network", "realesrgan") else "bilinear"
