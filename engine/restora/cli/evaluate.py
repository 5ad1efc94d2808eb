"""`restora evaluate`: measure how close restored photos are to clean ones."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

import typer
from rich.table import Table

from restora.backends.options import BackendChoice
from restora.cli import runtime_flags
from restora.cli.console import print_error, print_note, stdout_console
from restora.cli.exits import reports_errors
from restora.cli.groups import takes_group
from restora.cli.panels import in_panel
from restora.damage import DamageOptions
from restora.errors import MissingBackendError, OptionError
from restora.exit_codes import ExitCode
from restora.files import write_file
from restora.models import DEFAULT_MODEL
from restora.options import RestoreOptions
from restora.pipeline import Restorer

_photos, _metrics = in_panel("Photos"), in_panel("Metrics")
_networks, _damage = in_panel("Networks"), in_panel("Damage")


@dataclass(frozen=True)
class DamageFlags:
    """Options of the evaluation of damage."""

    damage: Annotated[
        Literal["off", "scratches", "all"],
        _damage(
            help="Evaluate how such damage is found and repaired, on clean photos that damage is "
            "drawn on, beside OpenCV's inpaint. Default photos: those that training does not use."
        ),
    ] = "off"
    damage_detector: Annotated[str | None, _damage(help="A damage detector. Default: bundled.")] = (
        None
    )
    damage_repairer: Annotated[str | None, _damage(help="A repairer. Default: bundled.")] = None
    draws: Annotated[int, _damage(min=1, help="Damaged versions of each photo.")] = 4
    marked: Annotated[
        Path | None,
        _damage(
            help="Folder of photos with real damage. Beside each lies NAME_mask.png: white where "
            "the photo is damaged, gray where that is unclear."
        ),
    ] = None


@reports_errors
@takes_group("repairing", DamageFlags)
def evaluate(
    clean: Annotated[
        Path | None, _photos(help="Folder of clean photos; only --damage has a default.")
    ] = None,
    degraded: Annotated[
        Path | None,
        _photos(help="Folder of degraded photos of the same names. Default: they are made."),
    ] = None,
    degrade: Annotated[
        Literal["faces", "mild"],
        _photos(
            help="How clean photos are degraded. faces: blur 0.2-10, downsampling 1-8, noise "
            "0-15, JPEG 60-100; mild: blur 0.2-2, downsampling 2, noise 0-10, JPEG 60-100."
        ),
    ] = "faces",
    share: Annotated[
        float, _photos(help="Share of the photos to use, drawn at random: 0.01 is 1 %.")
    ] = 1,
    seed: Annotated[int, _photos(help="Seed of all random choices.")] = 0,
    aligned: Annotated[
        bool, _photos("--aligned", help="Photos are aligned faces, as in FFHQ or CelebA.")
    ] = False,
    pipelines: Annotated[
        str,
        _networks(help="Some of none, faces, upsampler, faces+upsampler, separated by commas."),
    ] = "none,faces,faces+upsampler",
    model: Annotated[str, _networks("--model", "-n", help="The upsampler.")] = DEFAULT_MODEL,
    face_model: Annotated[
        str | None, _networks(help="Default: the first that is on this machine.")
    ] = None,
    backend: runtime_flags.Backend = "auto",
    metrics: Annotated[
        str, _metrics(help="Some of psnr, ssim, lpips, fid, identity, separated by commas.")
    ] = "psnr,ssim",
    weights: Annotated[
        Path | None, _metrics(help="Folder with the backbones of LPIPS and FID.")
    ] = None,
    arcface: Annotated[
        Path | None, _metrics(help="ONNX file of ArcFace, for the metric identity.")
    ] = None,
    repairing: DamageFlags = DamageFlags(),
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A JSON file.")] = None,
) -> None:
    """Restore degraded photos and measure how close the results are to the clean ones.

    To repeat the published table, on a folder of aligned CelebA or FFHQ faces:

    restora evaluate --clean DIR --aligned --share 0.01 --metrics psnr,ssim,lpips,fid
    --model RealESRGAN_x2plus --face-model GFPGANv1.4
    """
    if repairing.damage != "off":
        _evaluate_damage(clean, repairing, backend, output)
        return
    if repairing.marked is not None:
        raise OptionError("--marked needs --damage scratches or --damage all")
    if clean is None:
        raise OptionError("evaluating needs a folder of clean photos (--clean)")
    folder = _import_evaluation()
    options = folder.EvaluateOptions(
        degraded=degraded,
        degrade=degrade,
        share=share,
        seed=seed,
        aligned=aligned,
        pipelines=tuple(pipelines.split(",")),
        model=model,
        face_model=face_model,
        metrics=tuple(metrics.split(",")),
        weights=weights,
        arcface=arcface,
        restoring=RestoreOptions(backend=backend),
    )
    _report(folder.evaluate_folder(clean, options, report=print_note), output)


def _evaluate_damage(
    clean: Path | None, flags: DamageFlags, backend: BackendChoice, output: Path | None
) -> None:
    try:
        from restora_benchmarks.evaluate.damage import evaluate_damage
        from restora_benchmarks.evaluate.damage_tables import format_tables
    except ImportError as error:
        raise MissingBackendError(
            f"evaluating damage needs pip install 'restora[evaluate,training,cpu]' ({error})"
        ) from error
    options = DamageOptions(
        find=flags.damage, detector=flags.damage_detector, repairer=flags.damage_repairer
    )
    with Restorer(None, damage=options, options=RestoreOptions(backend=backend)) as restorer:
        assert restorer.damage is not None
        result = evaluate_damage(
            restorer.damage, clean, draws=flags.draws, marked=flags.marked, report=print_note
        )
        runs = [network.describe() for network in restorer.networks]
    print(format_tables(result))
    if output is not None:
        write_file(output, json.dumps({"networks": runs, **result.as_dict()}, indent=1) + "\n")


def _report(result: Any, output: Path | None) -> None:
    """result: FolderEvaluation."""
    stdout_console().print(_table(result.rows))
    if output is not None:
        write_file(output, json.dumps(result.as_dict(), indent=1) + "\n")
    for row in result.rows:
        for name, reason in row.failed:
            print_error(f"{name}: not evaluated: {reason}")
    if any(row.failed for row in result.rows):
        raise typer.Exit(ExitCode.SOME_FAILED)


def _table(rows: Sequence[Any]) -> Table:
    """rows: Evaluation."""
    table = Table(title="against the clean photos")
    table.add_column("pipeline")
    table.add_column("photos", justify="right")
    for name in rows[0].figures:
        table.add_column(name, justify="right")
    for row in rows:
        figures = (f"{value:.4f}" for value in row.figures.values())
        table.add_row(row.pipeline, str(row.photos), *figures)
    return table


def _import_evaluation() -> ModuleType:
    """restora_benchmarks.evaluate.folder. Raises MissingBackendError, saying what to install."""
    try:
        from restora_benchmarks.evaluate import folder
    except ImportError as error:
        raise MissingBackendError(
            f"evaluating needs pip install 'restora[evaluate,cpu]' ({error})"
        ) from error
    return folder
