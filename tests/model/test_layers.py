import pytest
import torch
from torch.nn import functional

from sammoe_pipeline.model.layers import MLP, PatchConv3d, PatchConvTranspose3d


@pytest.mark.parametrize("size", [1, 2, 3])
def test_patch_convolution_is_a_strided_convolution(size: int) -> None:
    layer = PatchConv3d(2, 5, size=size).double()
    x = torch.randn(2, 2, 6, 12, 18, dtype=torch.float64)
    expected = functional.conv3d(x, layer.weight, layer.bias, stride=size)
    torch.testing.assert_close(layer(x.movedim(1, -1)).movedim(-1, 1), expected)


def test_patch_convolution_without_bias_maps_zero_to_zero() -> None:
    assert not PatchConv3d(1, 3, size=2, bias=False)(torch.zeros(1, 4, 4, 4, 1)).any()


@pytest.mark.parametrize("size", [2, 3])
def test_transposed_patch_convolution_is_a_strided_transposed_convolution(size: int) -> None:
    layer = PatchConvTranspose3d(3, 4, size=size).double()
    x = torch.randn(2, 3, 2, 3, 4, dtype=torch.float64)
    expected = functional.conv_transpose3d(x, layer.weight, layer.bias, stride=size)
    torch.testing.assert_close(layer(x.movedim(1, -1)).movedim(-1, 1), expected)


def test_perceptron_ends_without_activation() -> None:
    assert (MLP(3, 8, 64)(torch.randn(16, 3)) < 0).any()
