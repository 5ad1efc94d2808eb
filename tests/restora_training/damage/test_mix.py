"""A mix of two networks lies between them, and is the one or the other at the ends."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from restora.errors import OptionError
from restora_export.reference import DamageDetector
from restora_training.damage import mix
from restora_training.damage.fold import round_weights
from restora_training.damage.mix import mix_weights, read_network
from restora_training.damage.plan import Part
from restora_training.damage.start import BUNDLED, find_start
from small_detector import SIZES, make_detector


@torch.no_grad()
@pytest.mark.parametrize(("share", "seed"), [(0.0, 1), (1.0, 2)])
def test_a_mix_with_a_share_of_nothing_or_all_is_one_of_the_networks(
    share: float, seed: int
) -> None:
    states = [round_weights(make_detector(number).state_dict()) for number in (1, 2)]
    mixed, picture = DamageDetector(SIZES).eval(), torch.rand(1, 3, 32, 32)
    mixed.load_state_dict(mix_weights(*states, share))
    wanted = make_detector(seed)(picture)
    # the weights are rounded to float16
    torch.testing.assert_close(mixed(picture), wanted, atol=0.01, rtol=0.01)


def test_each_weight_of_a_mix_is_the_weighted_mean() -> None:
    first, second = (round_weights(make_detector(number).state_dict()) for number in (1, 2))
    mixed = mix_weights(first, second, 0.25)
    for key in ("stem.conv.weight", "stem.norm.bias", "mask_head.weight"):
        wanted = 0.75 * first[key].float() + 0.25 * second[key].float()
        torch.testing.assert_close(mixed[key].float(), wanted, atol=1e-3, rtol=1e-3)
        assert mixed[key].dtype == torch.float16


def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    save_file(round_weights(make_detector(1).state_dict()), tmp_path / "a.safetensors")
    assert set(read_network(tmp_path / "a.safetensors", make_detector(2))) == set(
        make_detector(2).state_dict()
    )
    with pytest.raises(OptionError, match="must hold the weights of a DamageDetector of the same"):
        read_network(tmp_path / "a.safetensors", DamageDetector((8, 8, 8, 8)))
    with pytest.raises(OptionError, match=r"state\.pt must be network\.safetensors of a run"):
        read_network(tmp_path / "state.pt", make_detector(2))


@pytest.mark.parametrize("part", ["detector", "repairer"])
def test_the_command_mixes_the_bundled_network_with_another(
    part: Part, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundled = find_start(part, BUNDLED)
    output = tmp_path / "mixed.safetensors"
    command = ["mix", part, "bundled", str(bundled), "-o", str(output)]
    monkeypatch.setattr(sys, "argv", command)
    mix.main()
    state = read_network(bundled, mix.make_network(part))
    for key, value in load_file(output).items():  # of a network with itself
        torch.testing.assert_close(value.float(), state[key].float(), atol=0, rtol=0)
    monkeypatch.setattr(sys, "argv", [*command, "--share", "2"])
    with pytest.raises(SystemExit):
        mix.main()
