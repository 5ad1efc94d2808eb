"""Fit a small network to the answers of a large one, export it, and compare the two."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from restora import Restorer
from restora.options import RestoreOptions
from restora_export.files import export_file
from restora_training.answers import DistillOptions, collect_answers
from restora_training.comparison import Row, compare_on
from restora_training.data.pairs import open_pairs
from restora_training.ready import student_recipe
from restora_training.run.trainer import StepReport, train

PAIRS_FOLDER = "pairs"


@dataclass(frozen=True, slots=True)
class Distilled:
    """artifact: of the student; rows: teacher, student, bicubic"""

    artifact: Path
    rows: tuple[Row, ...]


def distill(
    teacher: str | Path,
    folder: Path,
    options: DistillOptions,
    *,
    name: str | None = None,
    restore_options: RestoreOptions | None = None,
    report_pairs: Callable[[int, int], None] | None = None,
    report_step: Callable[[StepReport], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Distilled | None:
    """Distill a teacher into a student. What exists in `folder` is continued.

    teacher: name of a model, or path of an artifact or a checkpoint; it runs through the engine
    name: of the student's model; by default the student's shape
    report_pairs: called with (answers so far, answers in all)

    Returns None if should_stop ended the work early.
    Raises OptionError, AccuracyGateError if the student's artifact misses its gate, and what
    opening the teacher raises.
    """
    with Restorer(teacher, options=restore_options) as restorer:
        scale = restorer.scale
        recipe = student_recipe(
            options.student,
            folder / PAIRS_FOLDER,
            scale=scale,
            steps=options.steps,
            patch=options.patch,
            batch=options.batch,
            precision=options.precision,
            truth=options.truth,
            seed=options.seed,
        )
        recipe = recipe.model_copy(
            update={"data": recipe.data.model_copy(update={"held_out": options.held_out})}
        )
        collect_answers(restorer, folder / PAIRS_FOLDER, options, report_pairs, should_stop)
        if should_stop():
            return None
    result = train(recipe, folder, report=report_step, should_stop=should_stop)
    if result.stopped:
        return None
    model = name or f"{options.student}-x{scale}"
    target = folder / f"{model}.onnx"
    export_file(result.network, target, name=model, overwrite=True)
    _, held_out = open_pairs(folder / PAIRS_FOLDER, scale=scale, held_out=options.held_out)
    pairs = [held_out[index] for index in range(len(held_out))]
    rows = compare_on(teacher, target, pairs, restore_options)
    return Distilled(target, rows)
