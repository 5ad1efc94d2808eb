"""Restore a folder of photos."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from restora.errors import OptionError
from restora.jobs.disk import is_folder
from restora.jobs.options import RunOptions
from restora.jobs.photos import never, restore_photos
from restora.jobs.progress import RunProgress
from restora.jobs.result import RunResult
from restora.pipeline import Restorer


def restore_folder(
    source: Path | str,
    output: Path | str,
    restorer: Restorer | Callable[..., Restorer],
    *,
    options: RunOptions | None = None,
    progress: RunProgress | None = None,
    stop: Callable[[], bool] = never,
) -> RunResult:
    """Restore every photo of a folder into another one. A photo that fails costs only itself.

    restorer: a Restorer; or a function that opens one, which is called only if something is left
        to do, and whose Restorer is closed at the end
    options: RunOptions; None for the defaults
    progress: callbacks for each photo
    stop: checked before each photo; once it returns True, photos in flight are finished and the
        rest is left for the next run

    A journal in the output folder records each photo when it begins and when it ends, so that an
    interrupted run continues: a photo that is done with these settings is skipped, one that failed
    is not tried again without options.retry_failed, nor one that crashed the process three times.

    Raises OptionError if the source is no folder or holds no files, if a result would take the
    place of an input, or if another run is working there; OutputError if the journal cannot be
    written.
    """
    if not is_folder(Path(source)):
        raise OptionError(f"the source must be a folder, got {source}; see restore_file")
    return restore_photos(source, output, restorer, options=options, progress=progress, stop=stop)
