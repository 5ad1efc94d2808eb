"""Run one step in this process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from restora.artifact import Precision
from restora.backends.driver import require_driver
from restora.backends.tensorrt.start import require_tensorrt_starts
from restora.errors import MissingBackendError, MissingModelError, RestoraError
from restora_tools.gpu.effort import FULL, Effort
from restora_tools.gpu.job import Job
from restora_tools.gpu.machine import Modules, import_modules
from restora_tools.gpu.places import Places
from restora_tools.gpu.states import StateName
from restora_tools.gpu.steps import Step
from restora_tools.gpu.subjects import find_subject

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Settings:
    """budget_s: of one plan; None for the step's own
    retry: build plans again that were refused before
    modules: gives the modules of TensorRT stages
    torch_device: "cuda", or "cpu" to try commands out
    """

    budget_s: float | None = None
    retry: bool = False
    effort: Effort = FULL
    modules: Callable[[], Modules] = import_modules
    torch_device: str = "cuda"


def run_step(
    step: Step, places: Places, report: Report, settings: Settings | None = None
) -> StateName:
    """Run a step and report what it found; the last report is its reason.

    A step whose packages or artifacts are not here is "skipped".
    """
    settings = settings or Settings()
    try:
        if step.stage == "tests":
            from restora_tools.gpu.gpu_tests import run_tests

            require_driver()
            return run_tests(places, report, subject=step.subject)
        if step.interpreter == "tensorrt":
            return _run_tensorrt(step, places, report, settings)
        return _run_torch(step, places, report, settings)
    except (MissingBackendError, MissingModelError) as error:
        report(str(error))
        return "skipped"
    except ImportError as error:
        report(f"a package is not in this interpreter: {error}")
        return "skipped"
    except RestoraError as error:
        report(f"{type(error).__name__}: {error}")
        return "failed"


def _run_tensorrt(step: Step, places: Places, report: Report, settings: Settings) -> StateName:
    modules = settings.modules()
    device = modules.open_device()
    card = device.facts(str(modules.trt.__version__)).name
    others = {row["name"] for row in places.rows("device")} - {card}
    if others:  # results of two cards never share a folder
        report(f"{places.root} holds results of {', '.join(others)}: use another --out")
        return "skipped"
    if step.stage == "device":
        from restora_tools.gpu.device_check import check_device

        return check_device(modules, places, report)
    require_tensorrt_starts(modules.trt, device)
    if step.stage == "damage":
        from restora_tools.gpu.damage import measure_damage

        places, bus = Places(places.root, card), device.pci_bus_id
        return measure_damage(places, report, pci_bus_id=bus, effort=settings.effort)
    job = Job(
        modules,
        Places(places.root, card),
        find_subject(step.subject),
        cast("Precision", step.kind),
        report,
    )
    budget_s = step.budget_s if settings.budget_s is None else settings.budget_s
    effort = settings.effort
    if step.stage == "build":
        from restora_tools.gpu.build import build

        return build(job, budget_s=budget_s, retry=settings.retry)
    if step.stage == "sweep":
        from restora_tools.gpu.sweep import sweep

        return sweep(job, budget_s=budget_s, effort=effort)
    if step.stage == "verify":
        from restora_tools.gpu.verify import verify

        return verify(job)
    if step.stage == "layers":
        from restora_tools.gpu.layers import inspect_layers

        return inspect_layers(job)
    if step.stage == "speed":
        from restora_tools.gpu.speed import measure

        return measure(job, effort=effort)
    assert step.stage == "photos"
    from restora_tools.gpu.photos import measure_photos

    return measure_photos(job, effort=effort)


def _run_torch(step: Step, places: Places, report: Report, settings: Settings) -> StateName:
    if step.stage == "prepare":
        from restora_tools.gpu.prepare import prepare

        return prepare(places, find_subject(step.subject), cast("Precision", step.kind), report)
    import torch

    device, effort = settings.torch_device, settings.effort
    if device == "cuda" and not torch.cuda.is_available():
        raise MissingBackendError("PyTorch sees no GPU here")
    from restora_tools.gpu.turns import name_of

    places = Places(places.root, name_of(device))
    if step.stage == "ceiling":
        from restora_tools.gpu.ceiling import measure_ceilings

        return measure_ceilings(places, report, device=device, effort=effort)
    from restora_tools.gpu.peers import measure_peers

    subject = find_subject(step.subject)
    return measure_peers(places, subject, step.kind, report, device=device, effort=effort)
