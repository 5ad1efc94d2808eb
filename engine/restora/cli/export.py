"""`restora export`: a PyTorch checkpoint becomes a checked ONNX artefact."""

from pathlib import Path
from types import ModuleType
from typing import Annotated, Literal

import typer

from restora.cli.console import print_note
from restora.cli.exits import reports_errors
from restora.errors import MissingBackendError, OptionError


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
        typer.Option(help="Name that the artefact carries. Default: the checkpoint's."),
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
        typer.Option(help="Of a GFP-GAN with equalised learning rates: GFPGANv1 or Bilinear."),
    ] = "fir",
) -> None:
    """Export a checkpoint to ONNX and prove it equal to its PyTorch reference.

    The file is written only if it passes its accuracy gate; the figures travel in its metadata.
    """
    export = import_export()
    ending = ("" if precision == "fp32" else f".{precision}") + ("" if io == "uint8" else f".{io}")
    target = output or checkpoint.with_suffix(f"{ending}.onnx")
    result = export.export_file(
        checkpoint,
        target,
        name=name,
        io=io,
        precision=precision,
        noise=noise,
        blend=parse_blend(blend),
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
