"""What was tried to be faster on the CPU, one by one: `python -m restora_benchmarks.choices`.

Forms of parts of the graph on every runtime, settings of ONNX Runtime, and sizes of tiles. Each
against what the tool does, in one run, in turns. Five minutes on two cores.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from rich.console import Console
from torch import nn

from restora import Photo
from restora.artifact import Artifact, read_artifact
from restora.models import find_artifact
from restora.options import choose_tile
from restora.sessions import CpuOptions, Session
from restora.sessions.cores import count_allowed_cores
from restora.sessions.onnxruntime_cpu import OnnxRuntimeCpuSession
from restora.sessions.openvino_cpu import OpenVinoSession
from restora.tiling import Tiling
from restora.upsample import Upsampler
from restora_benchmarks import graph_forms
from restora_benchmarks.bench.photos import photo_of
from restora_benchmarks.bench.timing import time_in_turns
from restora_benchmarks.results import write_results
from restora_export.onnx_file import quiet_exporter

RESULTS = Path("benchmarks/results/choices.json")
Run = Callable[[], object]
Row = dict[str, Any]
FEATURES, SIDE = 64, 128
LARGEST_ERROR = 1e-4  # of the largest value
PARTS = {
    "first convolution": graph_forms.forms_of_first,
    "upsampling": graph_forms.forms_of_upsampling,
    "residuals": graph_forms.forms_of_residuals,
    "dense blocks": graph_forms.forms_of_concats,
}
TILES = (128, 192, 256, 384, 512, 768)


class _Within(nn.Module):
    """A part between two convolutions, as it stands in a network: layouts are changed at its
    borders and not within."""

    def __init__(self, part: nn.Module, before: nn.Module, after: nn.Module) -> None:
        super().__init__()
        self.before, self.part, self.after = before, part, after

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.after(self.part(self.before(x)))
        return result


def measure_forms(*, side: int, features: int, repeats: int) -> Iterator[Row]:
    """A row for each form of each part on each runtime; `share` of the published form's time."""
    torch.manual_seed(0)
    for part, make_forms in PARTS.items():
        first = part == "first convolution"
        size = 2 * side if first else side
        x = torch.randn(1, 3 if first else features, size, size)
        before = nn.Identity() if first else nn.Conv2d(features, features, 3, padding=1)
        after = nn.Conv2d(features, features, 3, padding=1)
        runs: dict[str, Run] = {}
        forms = make_forms(features)
        exact: torch.Tensor | None = None
        for name, make in forms.items():
            module = _Within(make(), before, after).eval().requires_grad_(False)
            result = module(x)
            exact = result if exact is None else exact
            error = float((result - exact).abs().max() / exact.abs().max())
            if not error <= LARGEST_ERROR:
                raise AssertionError(f"{part}, {name}: departs by {error:.1e}")
            for runtime, run in open_everywhere(_export(module, x), x.numpy()).items():
                runs[f"{runtime}|{name}"] = run
        times = time_in_turns(runs, repeats=repeats)
        published = next(iter(forms))
        for key, found in times.items():
            runtime, _, name = key.partition("|")
            base = times[f"{runtime}|{published}"]
            yield _row(part, runtime, name, found.median, base.median, found.spread)


def measure_settings(artifact: Artifact, *, side: int, repeats: int) -> Iterator[Row]:
    """Each setting of ONNX Runtime changed alone; `share` of the time with our settings."""
    ours = CpuOptions(threads=count_allowed_cores())
    changed = {
        "ours": ours,
        "no memory arena": replace(ours, memory_arena=False),
        "memory pattern": replace(ours, memory_pattern=True),
        "spinning": replace(ours, spinning=True),
        "one thread": replace(ours, threads=1),
    }
    picture = photo_of(0.1)[:side, :side][None]
    runs: dict[str, Run] = {}
    for name, options in changed.items():
        session = OnnxRuntimeCpuSession(artifact, options)
        runs[name] = partial(session.run, picture)
    times = time_in_turns(runs, repeats=repeats)
    base = times["ours"].median
    for name, found in times.items():
        yield _row("settings", "ONNX Runtime", name, found.median, base, found.spread)


def measure_tiles(artifact: Artifact, *, megapixels: float, repeats: int) -> Iterator[Row]:
    """A whole photo in tiles of each size; `share` of the time with the size that we choose."""
    photo = Photo(photo_of(megapixels))
    sessions: dict[str, Session] = {
        "ONNX Runtime": OnnxRuntimeCpuSession(artifact),
        "OpenVINO bf16": OpenVinoSession(artifact, arithmetic="bf16"),
    }
    chosen = choose_tile(artifact.info)
    for runtime, session in sessions.items():
        runs: dict[str, Run] = {}
        for size in sorted({chosen, *TILES}):
            tiling = Tiling(size=size, overlap=artifact.info.overlap_px)
            runs[str(size)] = partial(Upsampler(session, tiling=tiling).upsample, photo)
        times = time_in_turns(runs, repeats=repeats)
        base = times[str(chosen)].median
        for name, found in times.items():
            words = f"{name} (chosen)" if name == str(chosen) else name
            yield _row("tiles", runtime, words, found.median, base, found.spread)


def open_everywhere(data: bytes, image: NDArray[np.float32]) -> dict[str, Run]:
    import openvino

    threads = count_allowed_cores()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    runs: dict[str, Run] = {"ONNX Runtime": partial(session.run, None, {"x": image})}
    core = openvino.Core()
    for precision in ("f32", "bf16"):
        settings = {
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
        }
        request = core.compile_model(core.read_model(data), "CPU", settings).create_infer_request()
        runs[f"OpenVINO {precision}"] = partial(request.infer, {"x": image}, share_inputs=True)
    return runs


def _export(module: nn.Module, x: torch.Tensor) -> bytes:
    sizes = {2: 2 * torch.export.Dim("height_2"), 3: 2 * torch.export.Dim("width_2")}
    with quiet_exporter():
        program = torch.onnx.export(
            module,
            (x,),
            dynamo=True,
            opset_version=18,
            dynamic_shapes={"x": sizes},
            input_names=["x"],
            external_data=False,
            verbose=False,
        )
    assert program is not None
    return bytes(program.model_proto.SerializeToString())


def _row(
    what: str, runtime: str, choice: str, median_s: float, base_s: float, spread: float
) -> Row:
    return {
        "what": what,
        "runtime": runtime,
        "choice": choice,
        "ms": round(median_s * 1e3, 2),
        "share": round(median_s / base_s, 3),
        "spread": round(spread, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, default=RESULTS)
    parser.add_argument("--repeats", type=int, default=9)
    arguments = parser.parse_args()
    console = Console()
    artifact = read_artifact(find_artifact("restora-lite-x2", "uint8"))
    rows: list[Row] = []
    for measured in (
        measure_forms(side=SIDE, features=FEATURES, repeats=arguments.repeats),
        measure_settings(artifact, side=256, repeats=arguments.repeats),
        measure_tiles(artifact, megapixels=1.5, repeats=max(1, arguments.repeats // 3)),
    ):
        for row in measured:
            rows.append(row)
            console.print(*row.values(), sep="  ")
    write_results(arguments.json, side=SIDE, features=FEATURES, rows=rows)
    console.print(f"wrote {arguments.json}")


if __name__ == "__main__":
    main()
