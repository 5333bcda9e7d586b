"""The two-way transformer of the mask decoder: tokens and image attend to each other (Kirillov et al., ICCV 2023)."""

from __future__ import annotations

from torch import Tensor, nn

from .attention import attend, join_heads, split_heads
from .layers import MLPBlock


class CrossAttention(nn.Module):
    """Multi-head attention between two sets of tokens.

    Args:
        width: channels of the tokens.
        inner_width: channels of queries, keys and values, all heads together.
        num_heads: heads, a divisor of `inner_width`.
    """

    def __init__(self, *, width: int, inner_width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q_proj = nn.Linear(width, inner_width)
        self.k_proj = nn.Linear(width, inner_width)
        self.v_proj = nn.Linear(width, inner_width)
        self.out_proj = nn.Linear(inner_width, width)

    def forward(self, *, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """(B, N, width), (B, M, width), (B, M, width) -> (B, N, width); any may have 1 in place of B."""
        attended = attend(
            split_heads(self.q_proj(query), self.num_heads),
            split_heads(self.k_proj(key), self.num_heads),
            split_heads(self.v_proj(value), self.num_heads),
        )
        output: Tensor = self.out_proj(join_heads(attended))
        return output


class TwoWayBlock(nn.Module):
    """Self-attention of the tokens, tokens to image, a perceptron on the tokens, image to tokens.

    Args:
        width: channels of tokens and image.
        cross_width: channels within the attention between tokens and image.
        num_heads: heads of every attention.
        mlp_width: channels between the perceptron's two layers.
        first: the transformer's first block: the tokens are still their own position embedding, and self-attention
            replaces them.
    """

    def __init__(self, *, width: int, cross_width: int, num_heads: int, mlp_width: int, first: bool) -> None:
        super().__init__()
        self.self_attn = CrossAttention(width=width, inner_width=width, num_heads=num_heads)
        self.norm1 = nn.LayerNorm(width)
        self.cross_attn_token_to_image = CrossAttention(width=width, inner_width=cross_width, num_heads=num_heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = MLPBlock(width=width, hidden=mlp_width, activation=nn.ReLU())
        self.norm3 = nn.LayerNorm(width)
        self.cross_attn_image_to_token = CrossAttention(width=width, inner_width=cross_width, num_heads=num_heads)
        self.norm4 = nn.LayerNorm(width)
        self.first = first

    def forward(
        self, tokens: Tensor, image: Tensor, token_position: Tensor, image_position: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Updates tokens (B, N, width) and image (B or 1, g^3, width); positions are shaped like these."""
        if self.first:
            tokens = self.norm1(self.self_attn(query=tokens, key=tokens, value=tokens))
        else:
            placed = tokens + token_position
            tokens = self.norm1(tokens + self.self_attn(query=placed, key=placed, value=tokens))

        placed_image = image + image_position
        attended = self.cross_attn_token_to_image(query=tokens + token_position, key=placed_image, value=image)
        tokens = self.norm2(tokens + attended)
        tokens = self.norm3(tokens + self.mlp(tokens))

        attended = self.cross_attn_image_to_token(query=placed_image, key=tokens + token_position, value=tokens)
        return tokens, self.norm4(image + attended)


class TwoWayTransformer(nn.Module):
    """Lets the tokens read the image, and the image the tokens.

    Args:
        depth: number of blocks.
        width: channels of tokens and image.
        cross_width: channels within the attention between tokens and image.
        num_heads: heads of every attention.
        mlp_width: channels between the two layers of a block's perceptron.
    """

    def __init__(self, *, depth: int, width: int, cross_width: int, num_heads: int, mlp_width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            TwoWayBlock(
                width=width, cross_width=cross_width, num_heads=num_heads, mlp_width=mlp_width, first=index == 0
            )
            for index in range(depth)
        )
        self.final_attn_token_to_image = CrossAttention(width=width, inner_width=cross_width, num_heads=num_heads)
        self.norm_final_attn = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, image: Tensor, image_position: Tensor) -> tuple[Tensor, Tensor]:
        """Runs the blocks, then lets the tokens read the image once more.

        Args:
            tokens: (B, N, width); they serve as their own position embedding.
            image: (B, g^3, width), or (1, g^3, width) for all.
            image_position: (B or 1, g^3, width).

        Returns:
            The tokens (B, N, width) and the image (B, g^3, width).
        """
        position = tokens
        for layer in self.layers:
            tokens, image = layer(tokens, image, position, image_position)
        attended = self.final_attn_token_to_image(query=tokens + position, key=image + image_position, value=image)
        return self.norm_final_attn(tokens + attended), image
