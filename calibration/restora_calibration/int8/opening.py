"""Open what was calibrated in every session of this machine, as `restore` will."""

from __future__ import annotations

from collections.abc import Callable

from restora.artifact import Artifact
from restora.backends.choose import choose_session
from restora.backends.options import Backend, PrecisionChoice, SessionOptions
from restora.errors import AccuracyGateError, MissingBackendError, RestoraError

Report = Callable[[str], None]
SESSIONS: tuple[Backend, ...] = ("openvino", "cpu", "ncnn")


def find_sessions(artifact: Artifact, *, report: Report) -> tuple[Backend, ...]:
    """The backends in which an artifact in 8 bits opens and passes its self-check.

    report: called with the reason for each other backend

    Raises AccuracyGateError if it opens in none, with the reasons.
    """
    precision = artifact.info.precision
    asked: PrecisionChoice = "auto" if precision == "int8_fp16" else precision
    opens: list[Backend] = []
    refused: list[str] = []
    for backend in SESSIONS:
        options = SessionOptions(backend=backend, precision=asked)
        try:
            session = choose_session(artifact, options=options).session
        except MissingBackendError as error:
            report(f"it does not run on {backend}: {error}")
        except RestoraError as error:
            refused.append(f"{backend}: {error}")
            report(f"it is refused on {backend}: {error}")
        else:
            session.close()
            opens.append(backend)
    if not opens:
        raise AccuracyGateError(
            f"the artifact of {artifact.info.model} in {precision} opens in no session of this "
            f"machine: {'; '.join(refused) or 'none is installed that runs it'}"
        )
    return tuple(opens)
