"""Trials: how fast each backend ran an artifact on this machine, kept for `backend="auto"`.

A trial is a small JSON file in $RESTORA_TRIALS or ~/.cache/restora/trials. It holds the versions of
the runtimes, and is not used with others.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import get_args

from restora.artifact import Artifact
from restora.artifact.schema import choice, list_of, nested, number, parse_json, read_fields, whole
from restora.artifact.schema import text as text_rule
from restora.atomic import write_atomically
from restora.backends.cores import count_allowed_cores, name_cpu
from restora.backends.options import (
    GPU_BACKENDS,
    Backend,
    CpuOptions,
    PrecisionChoice,
    SessionOptions,
)
from restora.cache_folder import cache_folder
from restora.errors import OutputError

logger = logging.getLogger(__name__)

FORMAT = 2
_PACKAGES = ("restora", "onnxruntime", "onnxruntime-gpu", "openvino", "ncnn")
_MAX_CHARACTERS = 1 << 16


@dataclass(frozen=True, slots=True)
class TrialResult:
    """What one backend reached. seconds: for a megapixel of a photo, the median of several runs,
    overlaps of tiles included."""

    backend: Backend
    precision: PrecisionChoice
    seconds: float


@dataclass(frozen=True, slots=True)
class Trial:
    """A comparison of all backends that passed the self-check.

    artifact: SHA-256 of the artifact file
    cpu: name of the CPU
    threads: number of threads of CPU sessions
    versions: names and versions of packages
    side: height and width of the tile, in pixels
    results: fastest first
    """

    artifact: str
    cpu: str
    threads: int
    versions: tuple[str, ...]
    side: int
    results: tuple[TrialResult, ...]
    format: int = FORMAT


_RESULT_RULES = {
    "backend": choice(*get_args(Backend)),
    "precision": choice(*get_args(PrecisionChoice)),
    "seconds": number(1e-9, 1e9),
}
_RULES = {
    "artifact": text_rule(64, minimum=64),
    "cpu": text_rule(200),
    "threads": whole(1, 1 << 16),
    "versions": list_of(text_rule(200), maximum=64),
    "side": whole(1, 1 << 16),
    "results": list_of(nested(_RESULT_RULES, TrialResult, name="a result"), maximum=64),
    "format": whole(FORMAT, FORMAT),
}


def order_backends(
    artifact: Artifact, options: SessionOptions
) -> list[tuple[Backend, SessionOptions]]:
    """The backends that "auto" tries, in this order, each with the options to open it.

    NVIDIA GPUs go first, then what a trial of this artifact found fastest, then the rule of thumb
    of SessionOptions.
    """
    rule = [(backend, options) for backend in options.backends()]
    measurable = artifact.info.kind in ("upsampler", "face")
    trial = read_trial(artifact, options.cpu) if measurable else None
    if trial is None:
        return rule
    allowed = options.allowed_backends()
    measured = [
        (result.backend, replace(options, backend=result.backend, precision=result.precision))
        for result in trial.results
        if result.backend in allowed and options.precision in ("auto", result.precision)
    ]
    logger.info("%s: backends are tried in the order of a trial", artifact.info.model)
    first = [entry for entry in rule if entry[0] in GPU_BACKENDS]
    return [*first, *measured, *(entry for entry in rule if entry not in first)]


def read_trial(artifact: Artifact, cpu: CpuOptions) -> Trial | None:
    """The trial of this artifact with this number of threads, if it still holds."""
    folder = trial_folder()
    if folder is None or not folder.is_dir():
        return None
    asked = new_trial(artifact, cpu, side=1, results=())
    path = folder / _name_of(asked)
    try:
        values = parse_json(path.read_text(), maximum=_MAX_CHARACTERS, what="a trial")
        trial = Trial(**read_fields(values, _RULES, what="a trial"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        logger.warning("the trial %s is ignored: %s", path, error)
        return None
    if replace(trial, side=1, results=()) != asked:
        logger.info("the trial %s is of other versions: repeat it with `restora tune`", path)
        return None
    return trial


def new_trial(
    artifact: Artifact, cpu: CpuOptions, *, side: int, results: Sequence[TrialResult]
) -> Trial:
    """A trial on this machine, with the versions of its packages."""
    return Trial(
        artifact.sha256,
        name_cpu(),
        cpu.threads or count_allowed_cores(),
        _list_versions(),
        side,
        tuple(sorted(results, key=lambda result: result.seconds)),
    )


def write_trial(trial: Trial) -> Path:
    """Keep a trial. Returns its path. Raises OutputError if that is not possible."""
    folder = trial_folder()
    if folder is None:
        raise OutputError("a trial cannot be kept without a home directory: set RESTORA_TRIALS")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made: {error.strerror}") from error
    path = folder / _name_of(trial)
    write_atomically(path, json.dumps(asdict(trial), indent=1).encode())
    return path


def trial_folder() -> Path | None:
    return cache_folder("trials", variable="RESTORA_TRIALS")


def _name_of(trial: Trial) -> str:
    facts = f"{trial.artifact}\0{trial.cpu}\0{trial.threads}"
    return f"{hashlib.sha256(facts.encode()).hexdigest()[:32]}.json"


def _list_versions() -> tuple[str, ...]:
    found = []
    for package in _PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:  # noqa: PERF203
            continue
    return tuple(found)
