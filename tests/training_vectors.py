"""The numeric vectors of the published training code, and the networks they belong to."""

import json
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import recipe
from restora_benchmarks import recipe as weights
from stored import read_json

FOLDER = recipe.DATA / "training"


@cache
def _index() -> dict[str, Any]:
    return read_json(FOLDER / "index.json.xz")["cases"]


@cache
def _arrays(file: str) -> dict[str, NDArray[Any]]:
    with np.load(FOLDER / file) as stored:
        return dict(stored)


@cache
def _families() -> dict[str, Any]:
    return json.loads((FOLDER / "recipe_training.json").read_text())["families"]


class Case:
    """One case: its facts, its arrays as tensors, and comparison within its tolerances."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.facts = _index()[name]
        self.seed: int = self.facts.get("seed", 0)

    def __getitem__(self, key: str) -> torch.Tensor:
        array = _arrays(self.facts["file"]).get(f"{self.name}__{key}")
        if array is None:
            return torch.tensor(self.facts["scalars"][key])
        return torch.from_numpy(array)

    def check(self, key: str, value: torch.Tensor) -> None:
        expected = self[key]
        assert value.numel() == expected.numel(), (key, value.shape, expected.shape)
        torch.testing.assert_close(
            value.detach().float().reshape(expected.shape),
            expected.float(),
            rtol=0,
            atol=self.facts["atol"][key],
            msg=lambda text: f"{self.name} {key}: {text}",
        )

    def draw(self, name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
        return recipe.draw_raw(f"input/{name}", shape, self.seed)

    def sym(self, shape: tuple[int, ...], name: str | None = None) -> torch.Tensor:
        values = np.clip(0.5 * self.draw(name or self.name, shape), -1, 1)
        return torch.from_numpy(values.astype(np.float32))

    def multiscale(self, shape: tuple[int, ...]) -> torch.Tensor:
        values = recipe.draw_multiscale(self.name, side=shape[-1], batch=shape[0], seed=self.seed)
        return torch.from_numpy(values)

    def fill(self, network: nn.Module, prefix: str = "") -> nn.Module:
        """Load the recipe's weights; keys of the recipe lack `prefix`."""
        state = network.state_dict()
        family = self.facts["family"]
        filled = make_training_state(
            {key.removeprefix(prefix): tuple(value.shape) for key, value in state.items()},
            self.seed,
            family,
        )
        network.load_state_dict({prefix + key: value for key, value in filled.items()})
        return network


def make_training_state(
    shapes: dict[str, tuple[int, ...]], seed: int, family: str
) -> dict[str, torch.Tensor]:
    """Weights of a family that only training has, with the vectors of spectral normalization."""
    rules = _families()[family]
    drawn = [key for key in shapes if not key.endswith(("weight_u", "weight_v"))]
    state = weights.make_state({key: shapes[key] for key in drawn}, seed, family, rules=rules)
    for key in [key for key in shapes if key.endswith("weight_u")]:
        matrix = state[key.replace("weight_u", "weight_orig")].numpy().astype(np.float64)
        matrix = matrix.reshape(len(matrix), -1)
        u = recipe.draw_raw(key, shapes[key], seed)
        u /= np.linalg.norm(u)
        for _ in range(3):
            v = matrix.T @ u
            v /= np.linalg.norm(v)
            u = matrix @ v
            u /= np.linalg.norm(u)
        state[key] = torch.from_numpy(u.astype(np.float32))
        state[key.replace("weight_u", "weight_v")] = torch.from_numpy(v.astype(np.float32))
    return {key: state[key] for key in shapes}
