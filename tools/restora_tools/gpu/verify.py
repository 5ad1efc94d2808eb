"""Stage `verify`: all checks of one network in one precision, one row each."""

from __future__ import annotations

from collections.abc import Callable

from restora.artifact import Precision
from restora.errors import PlanError, RestoraError
from restora_tools.gpu.checks import Check, Checks
from restora_tools.gpu.machine import Modules
from restora_tools.gpu.places import Places, Row
from restora_tools.gpu.states import StateName
from restora_tools.gpu.subjects import Subject

_WORDS = {True: "holds", False: "FAILS", None: "not measured"}


def verify(
    modules: Modules,
    places: Places,
    subject: Subject,
    precision: Precision,
    report: Callable[[str], None],
) -> StateName:
    """One row a check. "failed" if one does not hold."""
    checks: list[Check] = []
    try:
        for check in Checks(modules, places, subject, precision).run():
            checks.append(check)
            report(f"{check.name}: {_WORDS[check.passed]}: {check.detail}")
    except PlanError:
        raise  # nothing was built
    except RestoraError as error:
        checks.append(Check("it runs", passed=False, detail=str(error)))
        report(f"it runs: FAILS: {error}")
    rows: list[Row] = [
        {
            "model": subject.name,
            "precision": precision,
            "check": check.name,
            "passed": check.passed,
            "detail": check.detail,
        }
        for check in checks
    ]
    places.add_rows("verify", rows, key=("model", "precision", "check"))
    failed = [check.name for check in checks if check.passed is False]
    report(f"{len(checks)} checks; " + (f"these fail: {'; '.join(failed)}" if failed else "fine"))
    return "failed" if failed else "done"
