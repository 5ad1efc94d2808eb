"""Folded weights are those of the same network, and stay exact when an exporter folds them."""

from __future__ import annotations

import torch

from restora_export.reference import DamageDetector
from restora_training.damage.fold import round_weights


def test_a_folded_network_is_the_same_but_for_the_rounding_of_its_weights() -> None:
    torch.manual_seed(0)
    network = DamageDetector((4, 6, 8, 10)).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # as after training
            torch.nn.init.uniform_(module.running_mean, -0.3, 0.3)  # type: ignore[arg-type]
            torch.nn.init.uniform_(module.running_var, 0.5, 2)  # type: ignore[arg-type]
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    rounded = round_weights(network.state_dict())
    folded = DamageDetector((4, 6, 8, 10)).eval()
    folded.load_state_dict(rounded)
    picture = torch.rand(1, 3, 16, 32)
    with torch.no_grad():
        assert torch.allclose(folded(picture), network(picture), atol=0.02)  # float16
        assert not torch.equal(folded(picture), network(picture))
    gain = folded.stem.norm.weight / torch.sqrt(folded.stem.norm.running_var + 1e-5)
    assert torch.equal(
        gain * folded.stem.conv.weight[:, 0, 0, 0], rounded["stem.conv.weight"][:, 0, 0, 0].float()
    )
    assert rounded["stem.conv.weight"].dtype == torch.float16
