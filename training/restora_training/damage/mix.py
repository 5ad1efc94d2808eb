"""Mix a network with one that was trained from it:
`python -m restora_training.damage.mix detector bundled NETWORK -o MIXED`.

A network that is trained further on other pictures forgets some of what it knew. Between the
weights of both lie networks that know most of it and most of what is new (Wortsman et al.,
arXiv:2109.01903).
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import load_file
from safetensors.torch import save as save_safetensors
from torch import Tensor, nn

from restora.atomic import write_atomically
from restora.errors import OptionError
from restora_training.damage.fold import round_weights
from restora_training.damage.plan import PLANS
from restora_training.damage.start import find_start, read_weights
from restora_training.damage.train import make_network


def mix_weights(
    first: Mapping[str, Tensor], second: Mapping[str, Tensor], share: float
) -> dict[str, Tensor]:
    """The weighted mean of two networks, rounded to float16.

    first, second: states of one architecture whose normalizations do nothing but add a bias, as
        round_weights makes them
    share: of the second network, 0..1
    """
    mixed = {
        key: value.float().lerp(second[key].float(), share)
        if value.dtype.is_floating_point
        else second[key]
        for key, value in first.items()
    }
    return round_weights(mixed)


def read_network(path: Path, network: nn.Module) -> dict[str, Tensor]:
    """The state of a network in a file.

    path: network.safetensors of a run, or an artifact in FP32
    network: has the sizes that the file must have

    Raises OptionError for another file or network, and the errors of read_artifact.
    """
    if path.suffix == ".onnx":
        return read_weights(path, network)
    if path.suffix != ".safetensors":
        raise OptionError(f"{path} must be network.safetensors of a run, or an artifact (.onnx)")
    state = load_file(path)
    wanted = {key: value.shape for key, value in network.state_dict().items()}
    if {key: value.shape for key, value in state.items()} != wanted:
        raise OptionError(
            f"{path} must hold the weights of a {type(network).__name__} of the same sizes, as a "
            "training run writes them to network.safetensors"
        )
    return state


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=sorted(PLANS))
    parser.add_argument("first", type=Path, help="network.safetensors, an artifact, or: bundled")
    parser.add_argument(
        "second",
        type=Path,
        help="network.safetensors or an artifact of a network trained from the first",
    )
    parser.add_argument(
        "--share", type=float, default=0.5, help="weight of the second network, 0..1; default: 0.5"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, help="a .safetensors file")
    arguments = parser.parse_args()
    if not 0 <= arguments.share <= 1:
        parser.error(f"--share must be between 0 and 1, got {arguments.share:g}")
    network = make_network(arguments.part)
    first, second = (
        read_network(find_start(arguments.part, path), network)
        for path in (arguments.first, arguments.second)
    )
    write_atomically(
        arguments.output, save_safetensors(mix_weights(first, second, arguments.share))
    )


if __name__ == "__main__":
    main()
