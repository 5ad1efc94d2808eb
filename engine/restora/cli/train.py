"""`restora train`: run a recipe, fine-tune a checkpoint, distill a model."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

import typer

from restora.cli.console import print_note, stdout_console
from restora.cli.exits import reports_errors
from restora.cli.panels import in_panel
from restora.cli.stopping import graceful_shutdown
from restora.cli.training_progress import show_training
from restora.errors import MissingBackendError

train_app = typer.Typer(
    help="Train, fine-tune and distill networks.", no_args_is_help=True, add_completion=False
)
_losses = in_panel("Losses")

Folder = Annotated[
    Path, typer.Option("--output", "-o", help="Folder of the run. An earlier run is continued.")
]


Steps = Annotated[int, typer.Option(min=1, help="Number of steps in all.")]
Precision = Annotated[
    Literal["fp32", "bf16"],
    typer.Option(help="bf16 is faster on a CPU with bfloat16 instructions, and on a GPU."),
]


@train_app.command("run")
@reports_errors
def run_recipe(
    recipe: Annotated[Path, typer.Argument(help="A recipe, as a TOML file.")],
    output: Folder,
) -> None:
    """Run a recipe, or continue it. Start it with torchrun to use several devices."""
    training = _import_training()
    _train(training, training.read_recipe(recipe), output)


@train_app.command("preview")
@reports_errors
def preview(
    recipe: Annotated[Path, typer.Argument(help="A recipe, as a TOML file.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The PNG to write.")] = Path(
        "preview.png"
    ),
    rows: Annotated[int, typer.Option(min=1, max=64, help="Rows of four pairs.")] = 4,
) -> None:
    """Write a sheet of the degraded and clean patches that a recipe trains on."""
    training = _import_training()
    training.preview.write_preview(training.read_recipe(recipe), output, rows=rows)
    print_note(f"wrote {output}")


@train_app.command("finetune")
@reports_errors
def finetune(
    checkpoint: Annotated[Path, typer.Argument(help="A .pth, .safetensors or .param file.")],
    data: Annotated[
        Path, typer.Option("--data", help="Folder of clean photos; of aligned faces for GFP-GAN.")
    ],
    output: Folder,
    steps: Steps = 10000,
    rate: Annotated[
        float | None, typer.Option(help="Learning rate. Default: depends on the network.")
    ] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Patches or faces per step.")] = None,
    patch: Annotated[
        int | None, typer.Option(min=16, help="Side of clean patches in pixels.")
    ] = None,
    components: Annotated[
        Path | None,
        typer.Option(help="Table of `restora train components`. Default: places of the alignment."),
    ] = None,
    precision: Precision = "fp32",
    vgg19: Annotated[
        str | None,
        _losses(
            help="Path of torchvision's vgg19 file, or torchvision to let it download the file: "
            "adds the perceptual and adversarial losses."
        ),
    ] = None,
    arcface: Annotated[
        Path | None, _losses(help="arcface_resnet18.pth: adds the identity loss of faces.")
    ] = None,
) -> None:
    """Continue the training of a published checkpoint on your own photos.

    The result is network.safetensors in the folder of the run; `restora export` makes an artifact
    of it.
    """
    training = _import_training()
    changes = {
        "data": _given(batch=batch, patch=patch, faces=components),
        "optimizer": _given(rate=rate),
        "run": {"precision": precision},
    }
    weights = Path(vgg19) if vgg19 and vgg19 != "torchvision" else vgg19
    recipe = training.ready.finetune_recipe(
        checkpoint, data, steps=steps, vgg19=weights, arcface=arcface, changes=changes
    )
    _train(training, recipe, output)


@train_app.command("distill")
@reports_errors
def distill(
    teacher: Annotated[str, typer.Argument(help="Name of a model, or path of one.")],
    output: Folder,
    student: Annotated[
        str,
        typer.Option(help="Shape: srvgg-CONVSxFEATURES or rrdb-BLOCKSxFEATURES."),
    ] = "srvgg-16x64",
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Folder of clean photos. Default: free ones."),
    ] = None,
    held_out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of photos to compare teacher and student on. Default: three of --data."
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the student's model.")] = None,
    pairs: Annotated[int, typer.Option(min=2, help="Answers of the teacher to collect.")] = 1000,
    steps: Steps = 20000,
    batch: Annotated[int, typer.Option(min=1, help="Patches per step.")] = 16,
    patch: Annotated[int, typer.Option(min=16, help="Side of clean patches in pixels.")] = 192,
    precision: Precision = "fp32",
    truth: Annotated[
        float,
        _losses(min=0, help="Weight of the difference to the clean photos, besides the answers."),
    ] = 0.0,
) -> None:
    """Fit a small network to the answers of a large one, export it, and compare them.

    The teacher's answers are kept in the folder of the run, so an interrupted run continues.
    """
    training = _import_training()
    options = training.distill.DistillOptions(
        student=student,
        photos=data,
        pairs=pairs,
        held_out=min(16, pairs // 2),
        held_out_folder=held_out,
        steps=steps,
        batch=batch,
        patch=patch,
        precision=precision,
        truth=truth,
    )
    with graceful_shutdown("the current step") as stopping, show_training() as progress:
        result = training.distill.distill(
            teacher,
            output,
            options,
            name=name,
            report_pairs=progress.show_pairs,
            report_step=progress.show_step,
            should_stop=lambda: bool(stopping),
        )
    if result is None:
        stopping.end()
        return
    stdout_console().print(_table_of(result.rows))
    print_note(f"wrote {result.artifact}")


@train_app.command("components")
@reports_errors
def components(
    faces: Annotated[Path, typer.Argument(help="Folder of aligned faces.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The table to write.")] = Path(
        "components.json"
    ),
) -> None:
    """Find eyes, mouth, nose and other components of aligned faces with the face parser.

    The table is for `data.faces` of a recipe. Without one, components are taken where the alignment
    puts them.
    """
    training = _import_training()
    written = training.data.tables.write_components(faces, output, report=print_note)
    print_note(f"wrote {output}: {written} faces")


def _train(training: ModuleType, recipe: Any, output: Path) -> None:
    with graceful_shutdown("the current step") as stopping, show_training() as progress:
        result = training.train(
            recipe, output, report=progress.show_step, should_stop=lambda: bool(stopping)
        )
    if os.environ.get("RANK", "0") == "0":  # the first process of torchrun speaks for all
        _print_result(result)
    if result.stopped:
        stopping.end()


def _print_result(result: Any) -> None:
    if result.figures is not None:
        print_note(
            f"held-out photos: PSNR {result.figures.psnr:.2f} dB, SSIM {result.figures.ssim:.4f}"
        )
    print_note(f"{result.steps} steps done; the averaged weights are in {result.network}")


def _given(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _table_of(rows: Any) -> Any:
    from rich.table import Table

    table = Table("network", "PSNR to teacher", "PSNR to truth", "SSIM to truth", "MP/s", "MB")
    for row in rows:
        table.add_row(
            row.name,
            "-" if row.psnr_teacher is None else f"{row.psnr_teacher:.2f} dB",
            f"{row.psnr_truth:.2f} dB",
            f"{row.ssim_truth:.4f}",
            f"{row.megapixels_per_s:.3f}",
            "-" if row.megabytes is None else f"{row.megabytes:.1f}",
        )
    return table


def _import_training() -> ModuleType:
    """The package with its modules. Raises MissingBackendError, saying what to install."""
    try:
        import restora_training
        import restora_training.data.tables
        import restora_training.distill
        import restora_training.preview
        import restora_training.ready
    except ImportError as error:
        raise MissingBackendError(
            f"training needs pip install 'restora[training,cpu]' ({error})"
        ) from error
    return restora_training
