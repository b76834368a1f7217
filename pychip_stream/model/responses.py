"""Filter responses that no training can forget: how steep and how curved a texture is.

Slopes and curvatures of Gaussian derivatives at three pyramid levels, none of which depends on
the direction that a texture happens to lie in. Lindeberg, "Edge detection and ridge detection
with automatic scale selection", IJCV 30 (1998).
"""

import torch
import torch.nn.functional as F  # noqa: N812 - the customary name
from torch import nn

from pychip_stream.model.filterbank import KERNEL_RADIUS, kernels

BLOCK = 4
_LEVELS = 3
_STEP = 2
"""Distance of the samples at the two finer levels; envelopes are smooth."""
_FLOOR = 1e-3
_DERIVATIVES = 5
"""x, y, xx, yy, xy: the last of the filter bank's kernels."""
PER_LEVEL = 5


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
        plain = kernels()[-_DERIVATIVES:]
        self.register_buffer("plain", plain, persistent=False)
        self.register_buffer("blocked", _blocked(plain), persistent=False)

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
        assert isinstance(self.plain, torch.Tensor)
        assert isinstance(self.blocked, torch.Tensor)
        eighth = F.avg_pool2d(quarter, 2)
        fine = [F.conv2d(stacked(level), self.blocked, padding=1) for level in (half, quarter)]
        coarse = F.conv2d(eighth, self.plain, padding=KERNEL_RADIUS)
        parts = [_describe(r, pool) for r, pool in zip((*fine, coarse), (2, 1, 2), strict=True)]
        return torch.cat(parts, 1)


def _describe(r: torch.Tensor, pool: int) -> torch.Tensor:
    """Five components per cell of the responses (B, phases · 5, h, w), pooled further."""
    gx, gy, xx, yy, xy = r.reshape(len(r), -1, _DERIVATIVES, *r.shape[2:]).unbind(2)
    mean, root = (xx + yy) / 2, (((xx - yy) / 2).square() + xy.square()).sqrt()
    parts = [gx.square() + gy.square(), F.relu(root + mean), F.relu(root - mean), root, mean]
    cells = torch.stack([part.mean(1) for part in parts], 1)
    cells = F.avg_pool2d(cells, pool) if pool > 1 else cells
    powers = torch.cat([cells[:, :1], cells[:, 1:4].square()], 1)
    return torch.cat([powers.add(_FLOOR**2).log() / 2, cells[:, 4:] * 8], 1)


def _blocked(plain: torch.Tensor) -> torch.Tensor:
    """Kernels (n, 1, 9, 9) as 3 × 3 kernels on stacked samples, one set per sample in a block."""
    edge, width = 3 * BLOCK, plain.shape[-1]
    sets = []
    for y in range(0, BLOCK, _STEP):
        for x in range(0, BLOCK, _STEP):
            wide = torch.zeros(len(plain), edge, edge)
            wide[:, y : y + width, x : x + width] = plain[:, 0]
            split = wide.view(-1, 3, BLOCK, 3, BLOCK).permute(0, 2, 4, 1, 3)
            sets.append(split.reshape(-1, BLOCK**2, 3, 3))
    return torch.cat(sets).contiguous(memory_format=torch.channels_last)
