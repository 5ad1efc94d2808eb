"""`restora export`: make an artifact from a PyTorch checkpoint."""

from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

import typer

from restora.cli import export_flags as flags
from restora.cli.console import print_note
from restora.cli.exits import reports_errors
from restora.errors import MissingBackendError, OptionError


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
    format_: flags.Format = "onnx",
    precision: flags.Precision = "fp32",
    name: Annotated[
        str | None,
        typer.Option(help="Name of the model in the artifact. Default: the checkpoint's."),
    ] = None,
    interpolate: flags.Interpolate = None,
    noise: flags.Noise = 1.0,
    resampling: flags.Resampling = "fir",
    activation: flags.Activation = "relu",
    key: flags.Key = None,
    mapped_styles: flags.MappedStyles = False,
    side: flags.Side = 512,
    license_name: flags.License = None,
    compact: flags.Compact = False,
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

        if io != "uint8" or precision == "mixed" or compact:
            raise OptionError(
                "--format ncnn goes with --precision fp32 or fp16, and not with --io or --compact"
            )
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
        compact=compact,
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
