"""PReLU with a fast backward pass."""

import pytest
import torch
from torch import nn

from restora_export.reference import SRVGGNetCompact
from restora_training.run.prelu import QuickPReLU, quicken_prelu


@pytest.mark.parametrize("slopes", [1, 5])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_gradients_are_those_of_pytorch(slopes: int, layout: torch.memory_format) -> None:
    torch.manual_seed(1)
    own, quick = nn.PReLU(slopes), QuickPReLU(slopes)
    with torch.no_grad():
        own.weight.copy_(torch.linspace(-0.5, 0.7, slopes))
        quick.weight.copy_(own.weight)
    x = torch.randn(2, 5, 6, 7).contiguous(memory_format=layout)
    x[0, 0, 0] = 0  # where the slope has no influence
    grad = torch.randn(2, 5, 6, 7)
    first, second = x.clone().requires_grad_(), x.clone().requires_grad_()
    a, b = own(first), quick(second)
    assert torch.equal(a, b)
    a.backward(grad)
    b.backward(grad)
    assert first.grad is not None
    assert second.grad is not None
    assert torch.equal(first.grad, second.grad)
    # a sum in another order
    torch.testing.assert_close(own.weight.grad, quick.weight.grad, rtol=1e-5, atol=1e-5)


def test_a_network_keeps_its_keys_parameters_and_results() -> None:
    torch.manual_seed(1)
    network = SRVGGNetCompact(2, 8, 2)
    before = dict(network.named_parameters())
    x = torch.rand(1, 3, 8, 8)
    expected = network(x)
    quicken_prelu(network)
    assert {key: id(value) for key, value in network.named_parameters()} == {
        key: id(value) for key, value in before.items()
    }
    assert sum(isinstance(module, QuickPReLU) for module in network.modules()) == 3
    assert torch.equal(network(x), expected)


def test_slopes_are_trained_in_float32_where_convolutions_are_in_bfloat16() -> None:
    quick = QuickPReLU(3)
    x = torch.randn(1, 3, 4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        result = quick(x.bfloat16())
    assert result.dtype == torch.bfloat16
    result.float().sum().backward()
    assert quick.weight.grad is not None
    assert quick.weight.grad.dtype == torch.float32
