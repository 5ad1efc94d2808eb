"""`restora calibrate`: make an artifact in 8 bits from an FP32 one, if it is accurate enough."""

from pathlib import Path
from types import ModuleType
from typing import Annotated, Literal

import typer

from restora.cli.console import print_note
from restora.cli.exits import reports_errors
from restora.cli.panels import in_panel
from restora.cli.panels import tiles as in_tiles
from restora.errors import MissingBackendError

_layers = in_panel("Layers")

NumberFormat = Annotated[
    Literal["int8", "fp8"],
    _layers("--format", help="fp8 is for TensorRT 10 and 11 on Ada, Hopper and Blackwell GPUs."),
]
RangeMethods = Annotated[
    str | None,
    _layers(
        help="Methods to find value ranges, some of max, percentile, entropy and mse; the most "
        "accurate one is used. Default: all of them, for fp8 max."
    ),
]
Only = Annotated[
    str | None, _layers(help="Regular expression: names of layers that may use 8 bits.")
]
FineTune = Annotated[
    int, _layers(min=0, help="Steps of fine-tuning the INT8 weights on the calibration tiles.")
]


@reports_errors
def calibrate(
    model: Annotated[
        str,
        typer.Argument(help="The .onnx file of an FP32 artifact, or a name of `restora models`."),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Default: MODEL.int8.onnx or MODEL.fp8.onnx next to the artifact.",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace results that exist.")
    ] = False,
    timed: Annotated[
        bool,
        typer.Option("--timed/--no-timed", help="Measure the speed of what is accurate enough."),
    ] = True,
    data: Annotated[
        Path | None,
        in_tiles(help="Folder of photos. Default: free photos that scikit-image ships."),
    ] = None,
    degrade: Annotated[
        Literal["mild", "faces", "none"],
        in_tiles(help="How photos are degraded first; none: they are old and damaged already."),
    ] = "mild",
    tile: Annotated[int, in_tiles(min=16, help="Side of tiles in pixels.")] = 96,
    calibration_tiles: Annotated[
        int, in_tiles(min=4, help="Number of tiles to find value ranges on.")
    ] = 40,
    validation_tiles: Annotated[
        int, in_tiles(min=24, help="Number of tiles of other photos, to measure PSNR on.")
    ] = 24,
    seed: Annotated[int, in_tiles(help="Seed of all random choices.")] = 0,
    min_psnr: Annotated[
        float, _layers(help="Mean PSNR against FP32 in dB, 40 or more; the worst tile: 35.")
    ] = 40.0,
    number_format: NumberFormat = "int8",
    range_methods: RangeMethods = None,
    only: Only = None,
    search: Annotated[
        bool,
        _layers("--search", help="Search the layers, also where a preset for the model has them."),
    ] = False,
    fine_tune: FineTune = 0,
    residuals: Annotated[
        bool, _layers("--residuals/--no-residuals", help="Skips of dense blocks in 8 bits too.")
    ] = False,
) -> None:
    """Find the fastest INT8/FP32 layer assignment that meets the accuracy threshold.

    A report (.json) and its plot (.svg) are written next to MODEL.int8.onnx, and with
    MODEL.fp16.onnx there, MODEL.int8_fp16.onnx for TensorRT 10 and 11. If no assignment meets the
    threshold on unseen tiles, no artifact is written and the exit code is 5. An interrupted run
    continues where it stopped.
    """
    int8 = _import_calibration()
    made = int8.file.calibrate_file(
        _find_model(model),
        output,
        int8.plan.Plan(
            None if range_methods is None else tuple(range_methods.split(",")),
            min_psnr,
            only,
            residuals,
            number_format,
            fine_tune=fine_tune,
        ),
        int8.file.TileOptions(data, degrade, tile, calibration_tiles, validation_tiles, seed),
        timed=timed,
        search=search,
        overwrite=overwrite,
        report=print_note,
    )
    for line in made.describe():
        print_note(line)


def _find_model(model: str) -> Path:
    """The artifact of that name, which is exported first if only its checkpoint is here."""
    from restora.models.resolve import find_or_export

    path = Path(model)
    return path if path.suffix == ".onnx" else find_or_export(model, "uint8", "upsampler")


def _import_calibration() -> ModuleType:
    """The package with its modules. Raises MissingBackendError, saying what to install."""
    try:
        import restora_calibration.int8 as int8
        from restora_calibration.int8 import file, plan  # noqa: F401
    except ImportError as error:
        raise MissingBackendError(
            f"calibrating needs pip install 'restora[calibration,cpu]' ({error})"
        ) from error
    return int8
