"""The loss of a mask: nnU-Net's Dice and cross-entropy, over the voxels whose truth is known."""

from __future__ import annotations

import torch
from torch import Tensor


class MaskLoss:
    """Soft Dice plus binary cross-entropy (nnunetv2's `DC_and_BCE_loss`), each mask for itself.

    Example:
        >>> loss = MaskLoss()
        >>> value = loss(torch.zeros(2, 1, 8, 8, 8), torch.ones(2, 1, 8, 8, 8), torch.ones(2, 1, 8, 8, 8))
    """

    def __init__(self) -> None:
        from nnunetv2.training.loss.compound_losses import DC_and_BCE_loss

        self._loss = DC_and_BCE_loss(
            bce_kwargs={},
            soft_dice_kwargs={"batch_dice": False, "do_bg": True, "smooth": 1.0, "ddp": False},
            use_ignore_label=True,
        )

    def __call__(self, logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """Returns the mean loss plus 1, so that a perfect mask costs 0.

        Args:
            logits: (B, C, x, y, z).
            target: (B, C, x, y, z), 0 or 1.
            valid: (B, 1, x, y, z), 0 where the truth is unknown.
        """
        truth = torch.cat([target.float(), 1 - valid.float()], dim=1)
        # One by one: nnunetv2 averages the cross-entropy over the known voxels of all masks together, and the loss of a
        # mask would depend on which others are in its batch, and on how a batch is shared out among processes.
        values = [self._loss(one[None].float(), of_one[None]) for one, of_one in zip(logits, truth, strict=True)]
        return torch.stack(values).mean() + 1
