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
        Path, typer.Argument(help="A .pth or .safetensors file: RRDBNet or SRVGGNetCompact.")
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The .onnx file. Default: beside the checkpoint."),
    ] = None,
    io: Annotated[
        Literal["uint8", "float32"],
        typer.Option(help="Pictures in and out: uint8, or float32 for 16-bit pictures."),
    ] = "uint8",
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
) -> None:
    """Export a checkpoint to ONNX and prove it equal to its PyTorch reference.

    The file is written only if it passes its accuracy gate; the figures travel in its metadata.
    """
    export = import_export()
    target = output or checkpoint.with_suffix(".onnx" if io == "uint8" else ".float32.onnx")
    result = export.export_file(
        checkpoint,
        target,
        name=name,
        io=io,
        blend=parse_blend(blend),
        activation=activation,
        report=print_note,
    )
    figures = result.artifact.info.accuracy
    assert figures is not None
    print_note(
        f"{target}: max error {figures.max_error:.2g} of range, PSNR {figures.psnr_mean:.1f} dB "
        f"mean, {figures.psnr_min:.1f} min; tiles overlap {result.artifact.info.overlap_px} px"
    )


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
