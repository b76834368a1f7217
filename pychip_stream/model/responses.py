"""Filter responses that no training can forget: how steep and how curved a texture is.

Slopes and curvatures of Gaussian derivatives at three pyramid levels, none of which depends on
the direction that a texture happens to lie in. Lindeberg, "Edge detection and ridge detection
with automatic scale selection", IJCV 30 (1998).
"""

from typing import cast

import torch
import torch.nn.functional as F  # noqa: N812 - the customary name
from torch import nn

from pychip_stream.model.filterbank import KERNEL_RADIUS
from pychip_stream.model.filterbank import kernels as filterbank_kernels

BLOCK = 4
_LEVELS = 3
_STEPS = (4, 2)
"""Distance of the samples at the two finer levels: four per cell, for speed."""
_FLOOR = 1e-3
_DERIVATIVES = 5
"""x, y, xx, yy, xy: the last of the filter bank's kernels."""
PER_LEVEL = 4


def stacked(level: torch.Tensor) -> torch.Tensor:
    """Lay 4 × 4 samples on the channels: (B, 1, H, W) → (B, 16, H / 4, W / 4), channels last."""
    batch, _, height, width = level.shape
    rows, columns = height // BLOCK, width // BLOCK
    blocks = level.contiguous().view(batch, rows, BLOCK, columns, BLOCK)
    if level.dtype == torch.float32 and level.device.type != "mps" and not level.requires_grad:
        # Four samples move as one element: five times as fast as moving them one by one.
        whole = blocks.view(torch.complex128).squeeze(-1).transpose(2, 3).contiguous()
        laid = whole.view(torch.float32)
    else:
        laid = blocks.transpose(2, 3).contiguous()
    return laid.view(batch, rows, columns, BLOCK**2).permute(0, 3, 1, 2)


class Responses(nn.Module):
    """Isotropic responses of a pyramid's half, quarter and eighth level, in float32.

    Attributes
    ----------
    dim
        Components per cell.
    """

    dim = _LEVELS * PER_LEVEL

    def __init__(self) -> None:
        super().__init__()
        plain = filterbank_kernels()[-_DERIVATIVES:]
        self.register_buffer("plain", plain, persistent=False)
        for number, step in enumerate(_STEPS):
            self.register_buffer(f"blocked{number}", _blocked(plain, step), persistent=False)

    @torch.no_grad()
    def forward(self, half: torch.Tensor, quarter: torch.Tensor) -> torch.Tensor:
        """Describe cells.

        Parameters
        ----------
        half, quarter
            (B, 1, H / 2, W / 2) and (B, 1, H / 4, W / 4) float32 intensities.

        Returns
        -------
        (B, dim, H / 16, W / 16) float32.
        """
        plain, *blocked = cast("list[torch.Tensor]", list(self.buffers()))
        responses = [
            F.conv2d(stacked(level), kernels, padding=1)
            for level, kernels in zip((half, quarter), blocked, strict=True)
        ]
        responses.append(F.conv2d(F.avg_pool2d(quarter, 2), plain, padding=KERNEL_RADIUS))
        return torch.cat(
            [_describe(r, pool) for r, pool in zip(responses, (2, 1, 2), strict=True)], 1
        )


def _describe(r: torch.Tensor, pool: int) -> torch.Tensor:
    """Four components per cell of the responses (B, phases · 5, h, w), pooled further."""
    gx, gy, xx, yy, xy = r.reshape(r.shape[0], -1, _DERIVATIVES, *r.shape[2:]).unbind(2)
    mean, root = (xx + yy) / 2, (((xx - yy) / 2).square() + xy.square()).sqrt()
    parts = [gx.square() + gy.square(), F.relu(root + mean), F.relu(root - mean), root]
    cells = torch.stack([part.mean(1) for part in parts], 1)
    cells = F.avg_pool2d(cells, pool) if pool > 1 else cells
    powers = torch.cat([cells[:, :1], cells[:, 1:].square()], 1)
    return powers.add(_FLOOR**2).log() / 2


def _blocked(plain: torch.Tensor, step: int) -> torch.Tensor:
    """Kernels (n, 1, 9, 9) as 3 × 3 kernels on stacked samples, one set per sample in a block."""
    edge, width = 3 * BLOCK, plain.shape[-1]
    sets = []
    for y in range(0, BLOCK, step):
        for x in range(0, BLOCK, step):
            wide = torch.zeros(len(plain), edge, edge)
            wide[:, y : y + width, x : x + width] = plain[:, 0]
            split = wide.view(-1, 3, BLOCK, 3, BLOCK).permute(0, 2, 4, 1, 3)
            sets.append(split.reshape(-1, BLOCK**2, 3, 3))
    return torch.cat(sets).contiguous(memory_format=torch.channels_last)
