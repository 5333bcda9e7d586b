"""Layers shared by the encoders and the decoder, all in channels-last order: tensors are (batch, x, y, z, channel).

A convolution whose stride equals its kernel touches every voxel once, so it is one matrix product over patches. The two
convolutions here keep the parameters of `torch.nn`'s, and so the layout of a checkpoint, and compute that product.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional


class PatchConv3d(nn.Conv3d):
    """Convolution over non-overlapping cubes, channels last.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        size: kernel side and stride, in voxels.
        bias: add a learnt bias.
    """

    def __init__(self, in_channels: int, out_channels: int, *, size: int, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, kernel_size=size, stride=size, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, X, Y, Z, in_channels) -> (B, X / size, Y / size, Z / size, out_channels)."""
        size = self.kernel_size[0]
        batch, *shape, channels = x.shape
        i, j, k = (side // size for side in shape)
        cubes = x.reshape(batch, i, size, j, size, k, size, channels).permute(0, 1, 3, 5, 7, 2, 4, 6)
        return functional.linear(cubes.flatten(4), self.weight.flatten(1), self.bias)


class PatchConvTranspose3d(nn.ConvTranspose3d):
    """Transposed convolution onto non-overlapping cubes, channels last.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        size: kernel side and stride, in voxels of the output.
    """

    def __init__(self, in_channels: int, out_channels: int, *, size: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size=size, stride=size)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """(B, X, Y, Z, in_channels) -> (B, X * size, Y * size, Z * size, out_channels)."""
        size = self.kernel_size[0]
        batch, i, j, k, _ = x.shape
        bias = None if self.bias is None else self.bias.repeat(size**3)
        cubes = functional.linear(x, self.weight.permute(2, 3, 4, 1, 0).flatten(0, 3), bias)
        cubes = cubes.reshape(batch, i, j, k, size, size, size, self.out_channels).permute(0, 1, 4, 2, 5, 3, 6, 7)
        return cubes.reshape(batch, i * size, j * size, k * size, self.out_channels)


class MLPBlock(nn.Module):
    """The two-layer perceptron of a transformer block.

    Args:
        width: channels of the input and the output.
        hidden: channels between the layers.
        activation: what follows the first layer.
    """

    def __init__(self, *, width: int, hidden: int, activation: nn.Module) -> None:
        super().__init__()
        self.lin1 = nn.Linear(width, hidden)
        self.lin2 = nn.Linear(hidden, width)
        self.act = activation

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) -> (..., width)."""
        output: Tensor = self.lin2(self.act(self.lin1(x)))
        return output


class MLP(nn.Module):
    """A perceptron with ReLU between its layers.

    Args:
        widths: channels of the input, of each hidden layer, and of the output.
    """

    def __init__(self, *widths: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """(..., first width) -> (..., last width)."""
        for layer in self.layers[:-1]:
            x = functional.relu(layer(x))
        output: Tensor = self.layers[-1](x)
        return output


class LocalMixing(nn.Module):
    """A residual convolution over 3 x 3 x 3 neighbours.

    Args:
        width: channels.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.conv = nn.Conv3d(width, width, kernel_size=3, padding=1)
        self.act = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        """(B, X, Y, Z, width) -> (B, X, Y, Z, width)."""
        cells = self.norm(x).movedim(-1, 1)
        if len(cells) == 1 and cells.device.type == "cpu":
            # For one patch alone torch takes its slow convolution, five times as slow as the fast one for two.
            cells = cells.expand(2, -1, -1, -1, -1)
        mixed: Tensor = self.conv(cells)[: len(x)].movedim(1, -1)
        output: Tensor = x + self.act(mixed)
        return output
