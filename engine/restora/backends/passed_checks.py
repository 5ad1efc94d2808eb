"""Self-checks that passed on this machine, so that later starts need not repeat them.

A check is a small JSON file in $RESTORA_CHECKS or ~/.cache/restora/checks. It holds everything that
the figures depend on, and is not used if any of it has changed. Failed checks are not kept: an
artifact that is refused is measured again at the next start.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from restora.artifact import Artifact
from restora.artifact.schema import number, parse_json, read_fields, text, whole
from restora.atomic import write_atomically
from restora.backends.cores import name_cpu
from restora.backends.shell import NetworkSession
from restora.cache_folder import cache_folder, check_own_folder
from restora.errors import OutputError, UnsafePathError
from restora.version import __version__

logger = logging.getLogger(__name__)

FORMAT = 1
_MAX_CHARACTERS = 1 << 13
_MAX_PSNR = 150.0


@dataclass(frozen=True, slots=True)
class PassedCheck:
    """The figures of a self-check, in dB, and what they depend on.

    artifact: SHA-256 of the artifact file
    runtime: name and version
    setup: arithmetic, threads and device of the session
    cpu: name of the CPU
    restora: version
    """

    artifact: str
    runtime: str
    setup: str
    precision: str
    cpu: str
    restora: str
    mean: float
    least: float
    format: int = FORMAT


_RULES = {
    "artifact": text(64, minimum=64),
    "runtime": text(200),
    "setup": text(400),
    "precision": text(20),
    "cpu": text(200),
    "restora": text(100),
    "mean": number(0, _MAX_PSNR),
    "least": number(0, _MAX_PSNR),
    "format": whole(FORMAT, FORMAT),
}


def find_passed(session: NetworkSession[Any], artifact: Artifact) -> tuple[float, float] | None:
    """The mean and minimum PSNR that this session reached before, or None."""
    folder = _folder()
    if folder is None:
        return None
    asked = _describe(session, artifact, 0, 0)
    path = folder / _name_of(asked)
    try:
        values = parse_json(path.read_text(), maximum=_MAX_CHARACTERS, what="a self-check")
        found = PassedCheck(**read_fields(values, _RULES, what="a self-check"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        logger.warning("the self-check in %s is repeated: %s", path, error)
        return None
    return (found.mean, found.least) if replace(found, mean=0, least=0) == asked else None


def keep_passed(
    session: NetworkSession[Any], artifact: Artifact, mean: float, least: float
) -> None:
    """Keep the figures of a session that passed. If that is not possible, the log says why."""
    folder = _folder()
    if folder is None:
        return
    check = _describe(session, artifact, mean, least)
    try:
        write_atomically(folder / _name_of(check), json.dumps(asdict(check), indent=1).encode())
    except OutputError as error:
        logger.info("the self-check is repeated at each start: %s", error)


def _folder() -> Path | None:
    """The folder, made if necessary; None without one that this user alone can write."""
    folder = cache_folder("checks", variable="RESTORA_CHECKS")
    if folder is None:
        return None
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        check_own_folder(folder, purpose="the folder of self-checks")
    except UnsafePathError as error:
        logger.warning("self-checks are repeated at each start: %s", error)
        return None
    except OSError as error:
        logger.info("self-checks are repeated at each start: %s", error)
        return None
    return folder


def _describe(
    session: NetworkSession[Any], artifact: Artifact, mean: float, least: float
) -> PassedCheck:
    return PassedCheck(
        artifact.sha256,
        session.runtime,
        session.setup,
        session.precision,
        name_cpu(),
        __version__,
        mean,
        least,
    )


def _name_of(check: PassedCheck) -> str:
    """One file per session: a new version replaces the check of the old one."""
    facts = f"{check.artifact}\0{check.runtime.split()[0]}\0{check.setup}\0{check.precision}"
    return f"{hashlib.sha256(facts.encode()).hexdigest()[:32]}.json"
