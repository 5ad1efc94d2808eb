"""Restore a folder of photos."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from restora.errors import OptionError
from restora.jobs.options import RunOptions
from restora.jobs.photos import never, restore_photos
from restora.jobs.plan import is_folder
from restora.jobs.progress import RunProgress
from restora.jobs.result import RunResult
from restora.pipeline import Restorer


def restore_folder(
    source: Path | str,
    output: Path | str,
    restorer: Restorer | Callable[[], Restorer],
    *,
    options: RunOptions | None = None,
    progress: RunProgress | None = None,
    stop: Callable[[], bool] = never,
) -> RunResult:
    """Restore every photo of a folder into another one. A photo that fails costs only itself.

    restorer: or what opens one, which is then called only if something is left to do, and closed at
        the end
    options: RunOptions; None for the defaults
    progress: told of each photo
    stop: looked at before each photo: once it is true, those in flight are finished and the rest is
        left for the next run

    A journal in the output folder records what is begun and how it ends, so that an interrupted run
    continues: what is done with these settings is skipped, what failed stays failed until
    options.retry_failed, a photo that crashes the process three times is not tried again.

    Raises OptionError if the source is no folder or holds no files, if a result would take the
    place of an input, or if another run is working there; OutputError if the journal cannot be
    written.
    """
    if not is_folder(Path(source)):
        raise OptionError(f"the source must be a folder, got {source}; see restore_file")
    return restore_photos(source, output, restorer, options=options, progress=progress, stop=stop)
