"""Stage `verify`: all checks of one network in one precision, one row each."""

from __future__ import annotations

from restora.errors import PlanError, RestoraError
from restora_tools.gpu.checks import Check, Checks
from restora_tools.gpu.job import Job
from restora_tools.gpu.states import StateName

_WORDS = {True: "holds", False: "FAILS", None: "not measured"}


def verify(job: Job) -> StateName:
    """One row a check. "failed" if one does not hold."""
    checks: list[Check] = []
    try:
        for check in Checks(job).run():
            checks.append(check)
            job.report(f"{check.name}: {_WORDS[check.passed]}: {check.detail}")
    except PlanError:
        raise  # nothing was built
    except RestoraError as error:
        checks.append(Check("it runs", passed=False, detail=str(error)))
        job.report(f"it runs: FAILS: {error}")
    rows = [job.row(check=check.name, passed=check.passed, detail=check.detail) for check in checks]
    job.places.add_rows("verify", rows, key=("model", "precision", "check"))
    failed = [check.name for check in checks if check.passed is False]
    job.report(
        f"{len(checks)} checks; " + (f"these fail: {'; '.join(failed)}" if failed else "fine")
    )
    return "failed" if failed else "done"
