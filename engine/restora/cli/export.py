"""`restora export`: make an artifact from a PyTorch checkpoint."""

from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

import typer

from restora.cli.console import print_note
from restora.cli.exits import reports_errors
from restora.cli.panels import in_panel
from restora.errors import MissingBackendError, OptionError

_network = in_panel("Network")


@reports_errors
def export_model(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            help="A .pth, .safetensors or ncnn .param file: RRDBNet, SRVGGNetCompact, GFP-GAN, "
            "RetinaFace or ParseNet."
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="The .onnx or .param file. Default: next to the checkpoint."
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a result that exists.")
    ] = False,
    io: Annotated[
        Literal["uint8", "float32"],
        typer.Option(help="Type of input and output; float32 is for 16-bit images."),
    ] = "uint8",
    format_: Annotated[
        Literal["onnx", "ncnn"],
        typer.Option(
            "--format",
            help="onnx: an artifact, which restora runs. ncnn: NAME.param and NAME.bin of an "
            "upsampler, for other programs; --precision fp16 halves the size.",
        ),
    ] = "onnx",
    precision: Annotated[
        Literal["fp32", "fp16", "mixed"],
        typer.Option(
            help="Compute precision. fp16 is for GPUs, and not for detectors and parsers; mixed is "
            "FP16 in convolutions only, for networks that are not accurate enough in fp16."
        ),
    ] = "fp32",
    name: Annotated[
        str | None,
        typer.Option(help="Name of the model in the artifact. Default: the checkpoint's."),
    ] = None,
    interpolate: Annotated[
        str | None,
        _network(
            metavar="FILE:SHARE",
            help="Interpolate the weights with a SHARE of another checkpoint of the same "
            "architecture, such as other.pth:0.3.",
        ),
    ] = None,
    noise: Annotated[
        float, _network(min=0, max=1, help="GFP-GAN: strength of its stored noise; 1 as upstream.")
    ] = 1.0,
    resampling: Annotated[
        Literal["fir", "bilinear"],
        _network(help="GFP-GAN with equalized learning rates: GFPGANv1 or GFPGANBilinear."),
    ] = "fir",
    activation: Annotated[
        Literal["relu", "leakyrelu"],
        _network(help="SRVGGNetCompact whose file holds no slopes to tell it by."),
    ] = "relu",
    key: Annotated[
        str | None,
        _network(
            help="Dictionary in the checkpoint to take, or prefix of its keys. Default: as known "
            "trainers name it, averaged weights first."
        ),
    ] = None,
    mapped_styles: Annotated[
        bool,
        _network(
            "--mapped-styles",
            help="GFP-GAN whose style codes pass its mapping network, unlike published ones.",
        ),
    ] = False,
    side: Annotated[
        int, _network(min=1, max=4096, help="ParseNet: height and width of its input.")
    ] = 512,
    license_name: Annotated[
        str | None,
        typer.Option(
            "--license",
            help="License of the weights, for the metadata. Default: that of a published file.",
        ),
    ] = None,
) -> None:
    """Export a checkpoint to an ONNX artifact and verify it against PyTorch.

    The file is written only if it meets the accuracy threshold; its metadata holds the figures.
    """
    export = import_export()
    common: dict[str, Any] = {
        "name": name,
        "blend": parse_interpolation(interpolate),
        "hints": export.Hints(
            activation=activation,
            resampling=resampling,
            key=key,
            is_latent=not mapped_styles,
            side=side,
        ),
        "overwrite": overwrite,
        "report": print_note,
    }
    if format_ == "ncnn":
        from restora_export.ncnn_export import export_ncnn

        if io != "uint8" or precision == "mixed":
            raise OptionError("--format ncnn goes with --precision fp32 or fp16, and not with --io")
        path = export_ncnn(checkpoint, output, half=precision == "fp16", **common)
        print_note(f"{path} and {path.with_suffix('.bin').name}")
        return
    result = export.export_file(
        checkpoint,
        output,
        io=io,
        precision=precision,
        noise=noise,
        license_name=license_name,
        **common,
    )
    print_note(f"{result.path}: {result.describe()}")


def import_export() -> ModuleType:
    """restora_export.files, or MissingBackendError saying what to install."""
    try:
        from restora_export import files
    except ImportError as error:
        raise MissingBackendError(
            f"this command needs PyTorch and ONNX: pip install 'restora[export]' ({error})"
        ) from error
    return files


def parse_interpolation(text: str | None) -> tuple[Path, float] | None:
    """A checkpoint and its share in 0..1. Raises OptionError."""
    if text is None:
        return None
    path, _, share = text.rpartition(":")
    try:
        weight = float(share)
    except ValueError:
        weight = -1.0
    if not path or not 0 <= weight <= 1:
        raise OptionError(f"--interpolate must be FILE:SHARE with a share in 0..1, got {text!r}")
    return Path(path), weight
