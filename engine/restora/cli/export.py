"""`restora export`: a PyTorch checkpoint becomes a checked ONNX artifact."""

from pathlib import Path
from types import ModuleType
from typing import Annotated, Literal

import typer

from restora.cli.console import print_note
from restora.cli.exits import reports_errors
from restora.errors import MissingBackendError, OptionError, OutputError, UnsafePathError
from restora.models.regular_file import shown


@reports_errors
def export_model(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            help="A .pth or .safetensors file: RRDBNet, SRVGGNetCompact, GFP-GAN, RetinaFace or "
            "ParseNet."
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The .onnx file. Default: beside the checkpoint."),
    ] = None,
    io: Annotated[
        Literal["uint8", "float32"],
        typer.Option(help="Pictures in and out: uint8, or float32 for 16-bit pictures."),
    ] = "uint8",
    precision: Annotated[
        Literal["fp32", "fp16", "mixed"],
        typer.Option(
            help="Of the arithmetic; fp16 is for GPUs, and only for what makes pictures; mixed is "
            "FP16 in convolutions alone, for networks whose fp16 fails its gate."
        ),
    ] = "fp32",
    noise: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Of a GFP-GAN: strength of its stored noise; 1 as published."
        ),
    ] = 1.0,
    name: Annotated[
        str | None,
        typer.Option(help="Name that the artifact carries. Default: the checkpoint's."),
    ] = None,
    blend: Annotated[
        str | None,
        typer.Option(
            metavar="FILE:SHARE",
            help="Mix in another checkpoint of the same architecture, e.g. other.pth:0.3.",
        ),
    ] = None,
    activation: Annotated[
        Literal["relu", "leakyrelu"],
        typer.Option(help="Of an SRVGGNetCompact whose file holds no slopes to tell by."),
    ] = "relu",
    resampling: Annotated[
        Literal["fir", "bilinear"],
        typer.Option(help="Of a GFP-GAN with equalized learning rates: GFPGANv1 or Bilinear."),
    ] = "fir",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a result.")] = False,
) -> None:
    """Export a checkpoint to an ONNX artifact and verify it against PyTorch.

    The file is written only if it meets the accuracy threshold; its metadata holds the figures.
    """
    if not checkpoint.name:
        raise OptionError(f"the checkpoint must be a file, got {str(checkpoint)!r}")
    ending = ("" if precision == "fp32" else f".{precision}") + ("" if io == "uint8" else f".{io}")
    target = output or checkpoint.with_suffix(f"{ending}.onnx")
    mixed = parse_blend(blend)
    check_target(target, [checkpoint, *(mixed[:1] if mixed else ())], overwrite=overwrite)
    export = import_export()
    result = export.export_file(
        checkpoint,
        target,
        name=name,
        io=io,
        precision=precision,
        noise=noise,
        blend=mixed,
        hints=export.Hints(activation=activation, resampling=resampling),
        report=print_note,
    )
    info = result.artifact.info
    figures = info.accuracy
    assert figures is not None
    words = [f"max error {figures.max_error:.2g} of range"]
    if info.kind in ("upsampler", "face"):
        words.append(f"PSNR {figures.psnr_mean:.1f} dB mean, {figures.psnr_min:.1f} min")
    if info.kind == "upsampler":
        words.append(f"tiles overlap {info.overlap_px} px")
    print_note(f"{target}: {'; '.join(words)}")


def check_target(target: Path, sources: list[Path], *, overwrite: bool) -> None:
    """Refuse, before the work begins, a result that could not be written or would replace a file
    that nobody offered.

    Raises OptionError, UnsafePathError or OutputError.
    """
    try:
        if target.is_symlink():
            raise UnsafePathError(f"{target} is a link; results are written to plain files only")
        if target.is_dir() or not target.name:
            raise OptionError(f"the result must be a file, {target} is a folder")
        if not target.parent.is_dir():
            raise OutputError(f"the folder {target.parent} does not exist: make it first")
        if not target.exists():
            return
        if any(source.exists() and source.samefile(target) for source in sources):
            raise OptionError(f"{target} is the checkpoint itself: give the result another name")
        if not overwrite:
            raise OptionError(f"{target} exists already: give --overwrite to replace it")
        if not target.is_file():
            raise OutputError(
                f"{target} is no regular file; results are written to plain files only"
            )
    except OSError as error:  # a name that is too long, a folder that may not be entered
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"{shown(target)} cannot be written: {error.strerror}") from error


def import_export() -> ModuleType:
    """restora_export.files, or MissingBackendError saying what to install."""
    try:
        from restora_export import files
    except ImportError as error:
        raise MissingBackendError(
            f"this command needs PyTorch and ONNX: pip install 'restora[export]' ({error})"
        ) from error
    return files


def parse_blend(blend: str | None) -> tuple[Path, float] | None:
    if blend is None:
        return None
    path, _, share = blend.rpartition(":")
    try:
        weight = float(share)
    except ValueError:
        weight = -1.0
    if not path or not 0 <= weight <= 1:
        raise OptionError(f"--blend must be FILE:SHARE with a share in 0..1, got {blend!r}")
    return Path(path), weight
