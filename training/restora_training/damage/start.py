"""Start a training with the weights of an earlier one, or with those of an artifact, such as a
bundled network.

An artifact has no normalizations: its convolutions include them. A network that is trained further
gets new ones, with the mean and the variance of what these convolutions return (as a data-dependent
initialization sets them: Salimans and Kingma, arXiv:1602.07868, section 3). Their gain and bias
undo them, so that the network returns what it did before.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from restora.artifact import Io, Kind, read_artifact
from restora.damage.open import DETECTOR_MODEL, REPAIRER_MODEL
from restora.errors import OptionError
from restora.models import find_artifact
from restora_export.reference import DamageDetector
from restora_export.reference.damage_detector import ConvUnit
from restora_training.damage.fold import EPS
from restora_training.damage.plan import Part

BUNDLED = Path("bundled")  # stands for the bundled network
_PREFIX, _BIAS = "network.", ".weight_bias"  # of the names in an artifact
_LEAST_VARIANCE = 1e-6  # of a channel that hardly changes
_MODELS: dict[Part, tuple[str, Io, Kind]] = {
    "detector": (DETECTOR_MODEL, "uint8", "damage-detector"),
    "repairer": (REPAIRER_MODEL, "uint8", "repairer"),
}


def find_start(part: Part, given: Path) -> Path:
    """The file of the bundled network for BUNDLED, and else the path itself."""
    return find_artifact(*_MODELS[part]) if given == BUNDLED else given


def load_start(network: nn.Module, path: Path, inputs: Iterable[tuple[Tensor, ...]]) -> None:
    """Load weights into a network, in place.

    path: state.pt of a run, whose averaged weights count; or an artifact in FP32
    inputs: of a detector's `find`: some batches of its training, from which normalizations are set

    Raises OptionError for an artifact of another network, and the errors of read_artifact.
    """
    if path.suffix != ".onnx":
        network.load_state_dict(torch.load(path, weights_only=True, map_location="cpu")["average"])
        return
    network.load_state_dict(read_weights(path, network))
    if isinstance(network, DamageDetector):
        _set_norms(network, inputs)


def read_weights(path: Path, network: nn.Module) -> dict[str, Tensor]:
    """The state of the network in an artifact, whose normalizations do nothing but add a bias.

    network: has the sizes that the artifact must have

    Raises OptionError for an artifact of another network, and the errors of read_artifact.
    """
    graph = onnx.load_from_string(read_artifact(path).onnx).graph
    stored = {entry.name: entry for entry in graph.initializer}
    state = network.state_dict()
    for key, before in state.items():
        if key.endswith(".norm.weight"):
            state[key] = torch.ones_like(before)
        elif key.endswith(".running_var"):
            state[key] = torch.full_like(before, 1 - EPS)
        elif key.endswith((".running_mean", ".num_batches_tracked")):
            state[key] = torch.zeros_like(before)
        else:
            name = _PREFIX + key
            if key.endswith(".norm.bias"):
                name = _PREFIX + key.removesuffix(".norm.bias") + ".conv" + _BIAS
            if name not in stored or tuple(stored[name].dims) != before.shape:
                raise OptionError(
                    f"{path} must be an artifact of a {type(network).__name__} of the same sizes: "
                    f"it has no constant {name} of shape {tuple(before.shape)}"
                )
            state[key] = torch.from_numpy(numpy_helper.to_array(stored[name]).copy()).float()
    return state


@torch.no_grad()
def _set_norms(network: DamageDetector, inputs: Iterable[tuple[Tensor, ...]]) -> None:
    units = {name: unit for name, unit in network.named_modules() if isinstance(unit, ConvUnit)}
    moments: dict[str, list[Tensor]] = {name: [] for name in units}
    hooks = [
        unit.conv.register_forward_hook(
            lambda _module, _given, result, name=name: moments[name].append(
                torch.stack((result.mean((0, 2, 3)), result.square().mean((0, 2, 3))))
            )
        )
        for name, unit in units.items()
    ]
    network.eval()
    for given in inputs:
        network.find(*given)
    for hook in hooks:
        hook.remove()
    for name, unit in units.items():
        mean, square = torch.stack(moments[name]).mean(0)
        variance = (square - mean.square()).clamp(min=_LEAST_VARIANCE)
        norm = unit.norm
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.copy_((variance + EPS).sqrt())
        norm.bias.add_(mean)
