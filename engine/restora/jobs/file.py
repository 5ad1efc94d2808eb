"""Restore one photo from file to file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from restora import errors
from restora.errors import OptionError, RestoraError
from restora.jobs.disk import is_folder
from restora.jobs.options import RunOptions
from restora.jobs.outcome import Outcome
from restora.jobs.photos import restore_photos
from restora.jobs.progress import RunProgress
from restora.pipeline import Restorer


def restore_file(
    source: Path | str,
    output: Path | str,
    restorer: Restorer | Callable[..., Restorer],
    *,
    options: RunOptions | None = None,
    progress: RunProgress | None = None,
) -> Outcome:
    """Restore one photo. It is decoded in a child process, and its result is written whole or not
    at all.

    output: a file, or the folder that the result goes to
    restorer: a Restorer; or a function that opens one, which is closed at the end
    options: RunOptions; None for the defaults. No journal is kept unless options.manifest is set

    Raises OptionError if the result, or what is written beside it, exists and options.overwrite is
    not set; ImageError if the photo cannot be read, OutputError if the result cannot be written,
    and what the networks raise.
    """
    if is_folder(Path(source)):
        raise OptionError(f"the source must be a photo, {source} is a folder; see restore_folder")
    result = restore_photos(source, output, restorer, options=options, progress=progress)
    (outcome,) = result.outcomes
    if outcome.status == "failed":
        raise _error_of(outcome)
    return outcome


def _error_of(outcome: Outcome) -> RestoraError:
    kind = getattr(errors, outcome.error_type or "", None)
    if not (isinstance(kind, type) and issubclass(kind, RestoraError)):
        return RestoraError(f"{outcome.input}: {outcome.error_type}: {outcome.reason}")
    return kind(outcome.reason or "")
