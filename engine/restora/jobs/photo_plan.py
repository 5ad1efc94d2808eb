"""The plan of a run: all its inputs, where their results go, and where its journal lies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from restora.jobs.disk import is_folder
from restora.jobs.inputs import is_file_name
from restora.jobs.options import RunOptions
from restora.jobs.plan import Job, Naming, plan_jobs
from restora.jobs.run_journal import FILE, known_results


@dataclass(frozen=True, slots=True)
class PhotoPlan:
    """All jobs of a run.

    root: the folder that names of inputs in the journal are relative to
    folder: the output folder; nothing is written outside of it
    journal: path of the journal; None: none is kept
    from_folder: whether the source is a folder
    """

    jobs: list[Job]
    root: Path
    folder: Path
    journal: Path | None
    from_folder: bool


def plan_photos(source: Path | str, output: Path | str, options: RunOptions) -> PhotoPlan:
    """Name the result of every input, without reading more than its first bytes.

    source: a photo, or a folder of photos
    output: a folder; or a file, if the source is one

    Raises OptionError if there is nothing to do, or a result would take the place of an input.
    """
    source, output = Path(source), Path(output)
    from_folder = is_folder(source)
    folder = output.parent if is_file_name(output) and not from_folder else output
    journal = options.manifest or (folder / FILE if from_folder else None)
    jobs = plan_jobs(
        source,
        output,
        Naming(options.ext, options.suffix, options.compare, options.save_faces, options.save_mask),
        recursive=options.recursive,
        limits=options.limits,
        known=known_results(journal, source, output),
    )
    return PhotoPlan(jobs, source if from_folder else source.parent, folder, journal, from_folder)
