"""The ways of running a model: our sessions, and peers as their users run them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from restora.backends import CpuOptions, Session, SessionOptions, choose_session
from restora.backends.base import Batch
from restora.backends.options import BackendChoice, PrecisionChoice
from restora.backends.trial import read_trial
from restora.backends.tune import tune
from restora.errors import OptionError, RestoraError
from restora.options import computed_area
from restora_benchmarks.bench.models import Model


class Runner(Protocol):
    """A model that is loaded."""

    def run(self, batch: Batch) -> Batch:
        """uint8 pictures to uint8 pictures, as a Session does."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Way:
    """One way. precision: of the arithmetic; ours: a session of restora, else a peer."""

    name: str
    precision: str
    ours: bool
    open: Callable[[Model, int], Runner]


class WayNotHereError(RestoraError):
    """A way that this machine or this model does not allow; the message says why."""


def _session(backend: BackendChoice, precision: PrecisionChoice) -> Way:
    def open_(model: Model, threads: int) -> Session:
        options = SessionOptions(backend, precision, cpu=CpuOptions(threads=threads))
        return choose_session(model.path, options=options).session

    return Way(f"restora {backend}", precision, ours=True, open=open_)


def _auto(precision: PrecisionChoice) -> Way:
    """What restora chooses by itself after `restora tune`, which runs here unless it has before."""

    def open_(model: Model, threads: int) -> Session:
        cpu = CpuOptions(threads=threads)
        if read_trial(model.artifact, cpu) is None:
            area = None if model.is_face else computed_area
            tune(model.path, SessionOptions(cpu=cpu), area=area)
        options = SessionOptions("auto", precision, cpu=cpu)
        return choose_session(model.path, options=options).session

    named = "default" if precision == "auto" else precision
    return Way("restora auto", named, ours=True, open=open_)


def _vulkan(precision: PrecisionChoice) -> Way:
    session = _session("ncnn-vulkan", precision)

    def open_(model: Model, threads: int) -> Runner:
        from restora.backends.ncnn.module import choose_device, import_ncnn

        device = choose_device(import_ncnn(), None)
        if device.software:
            raise WayNotHereError(f"ncnn-vulkan: {device.name} computes on the CPU")
        return session.open(model, threads)

    return replace(session, open=open_)


def _peer(name: str, precision: str, kind: str) -> Way:
    def open_(model: Model, threads: int) -> Runner:
        from restora_benchmarks.bench import peers

        try:
            return peers.OPENERS[kind](model, threads)
        except (ImportError, LookupError) as error:
            raise WayNotHereError(f"{name}: {error}") from error

    return Way(name, precision, ours=False, open=open_)


OURS = (
    _session("cpu", "fp32"),
    _session("openvino", "fp32"),
    _session("openvino", "bf16"),
    _session("cpu", "int8"),
    _session("openvino", "int8"),
    _session("ncnn", "fp32"),
    _session("ncnn", "bf16"),
    _vulkan("fp16"),
    _session("cuda", "fp32"),
    _session("cuda", "fp16"),
    _session("tensorrt", "fp32"),
    _session("tensorrt", "fp16"),
    _auto("fp32"),
    _auto("auto"),
)
PEERS = (
    _peer("eager PyTorch", "fp32", "torch"),
    _peer("PyTorch channels_last", "fp32", "torch-channels-last"),
    _peer("PyTorch channels_last", "bf16", "torch-bf16"),
    _peer("ncnn", "fp32", "ncnn-fp32"),
    _peer("ncnn", "default", "ncnn"),
    _peer("OpenVINO", "default", "openvino"),
    _peer("ONNX Runtime", "fp32", "onnxruntime"),
)


def key_of(way: Way) -> str:
    """How a way is named on a command line, such as "restora cpu/fp32"."""
    return f"{way.name}/{way.precision}"


def find_ways(names: str) -> tuple[Way, ...]:
    """Ways by "all", "ours", or names separated by commas. Raises OptionError."""
    groups = {"all": (*OURS, *PEERS), "ours": OURS}
    return groups.get(names) or tuple(find_way(key) for key in names.split(","))


def find_way(key: str) -> Way:
    """Raises OptionError for an unknown one."""
    for way in (*OURS, *PEERS):
        if key_of(way) == key:
            return way
    raise OptionError(f"unknown backend {key!r}; known: {', '.join(map(key_of, (*OURS, *PEERS)))}")
