"""Put a trained network into the package: `python -m restora_tools.bundle NAME NETWORK`.

Its weights are rounded to float16 once, here: all artifacts, and the checkpoint in
calibration/weights, hold the same numbers, in half the space.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from restora_export.files import export_file

WEIGHTS = Path("calibration/weights")
DATA = Path("engine/restora/data")
LICENSE = "Apache-2.0"


def bundle(
    name: str, network: Path, *, small: bool = False, weights: Path = WEIGHTS, data: Path = DATA
) -> tuple[Path, ...]:
    """Write the checkpoint and the artifacts of a model; returns the paths of what is bundled.

    network: float32 weights in the published key layout, as .safetensors
    small: put only the uint8 artifact into the package. Of an SRVGGNetCompact it holds the weights
        too, from which users export the other artifacts at their first use

    Raises AccuracyGateError if an artifact misses its threshold.
    """
    halves = {key: _rounded(key, value) for key, value in load_file(network).items()}
    data.mkdir(parents=True, exist_ok=True)
    checkpoint = (network.parent if small else weights) / f"{name}.safetensors"
    save_file(halves, checkpoint)
    first, second, half = (data / f"{name}{ending}.onnx" for ending in ("", ".float32", ".fp16"))
    export_file(checkpoint, first, compact=True, license_name=LICENSE)
    if small:
        return (first,)
    export_file(checkpoint, second, io="float32", compact=True, license_name=LICENSE, like=first)
    export_file(checkpoint, half, precision="fp16", license_name=LICENSE, like=first)
    return checkpoint, first, second, half


def _rounded(key: str, values: torch.Tensor) -> torch.Tensor:
    if key.endswith(".running_var"):
        return values  # of a folded normalization, whose float32 makes it the identity
    if not values.dtype.is_floating_point:
        return values  # the count of a normalization's batches, which float16 may not hold
    halves = values.to(torch.float16)
    if not torch.isfinite(halves).all():
        raise ValueError("all weights must be finite in float16")
    return halves.contiguous()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="of the model, such as restora-lite-x2")
    parser.add_argument("network", type=Path, help="network.safetensors of a training run")
    parser.add_argument("--small", action="store_true", help="only the uint8 artifact")
    arguments = parser.parse_args()
    for path in bundle(arguments.name, arguments.network, small=arguments.small):
        print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
