"""The inputs of a run on a cluster: a folder, or the rows of a Parquet file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from restora.cluster.options import ClusterOptions
from restora.errors import OptionError
from restora.jobs.disk import is_folder
from restora.jobs.plan import Job, Naming, plan_files, plan_jobs
from restora.jobs.run_journal import FILE, known_results


def plan_inputs(
    source: Path, output: Path, options: ClusterOptions, note: Callable[[str], None]
) -> tuple[list[Job], Path]:
    """All jobs, and the folder that inputs are named from.

    source: a folder, or a Parquet file with a column `path`

    Raises OptionError if it is neither, or names no photo.
    """
    naming = Naming(options.ext)
    if source.suffix.lower() == ".parquet":
        files = _read_files(source, note)
        root = Path(os.path.commonpath([file.parent for file in files]))
        return plan_files(files, root, output, naming, limits=options.limits), root
    if not is_folder(source):
        raise OptionError(f"the input must be a folder or a Parquet file, got {source}")
    jobs = plan_jobs(
        source,
        output,
        naming,
        recursive=options.recursive,
        limits=options.limits,
        known=known_results(output / FILE, source, output),
    )
    return jobs, source


def _read_files(table: Path, note: Callable[[str], None]) -> list[Path]:
    """Absolute paths, each once."""
    files = [Path(path).absolute() for path in _read_paths(table)]
    if not files:
        raise OptionError(f"{table} holds no rows")
    once = list(dict.fromkeys(files))
    if len(once) < len(files):
        note(f"{len(files) - len(once)} rows of {table} name a photo again")
    return once


def _read_paths(table: Path) -> list[str]:
    import pyarrow as pa
    from pyarrow.parquet import read_table

    try:
        paths: list[str] = read_table(table, columns=["path"])["path"].to_pylist()
    except (OSError, KeyError, pa.ArrowException) as error:
        raise OptionError(
            f"the input must be a Parquet file with a column `path`, {table} is not: {error}"
        ) from error
    wrong = next((path for path in paths if not isinstance(path, str)), None)
    if not all(isinstance(path, str) for path in paths):
        raise OptionError(f"the column `path` of {table} must hold text, it holds {wrong!r}")
    return paths
