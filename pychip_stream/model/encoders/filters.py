"""A filter bank without training: oriented energies, derivatives and intensity per cell.

Literature: quadrature (Gabor) energies after Adelson & Bergen, "Spatiotemporal energy models
for the perception of motion", J. Opt. Soc. Am. A 2 (1985); texture from filter-bank energies
after Leung & Malik, "Representing and recognizing the visual appearance of materials using
three-dimensional textons", IJCV 43 (2001).
"""

import math
from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F  # noqa: N812 - the customary name
from torch import nn

from pychip_stream.errors import EncoderError
from pychip_stream.model.encoders import checkpoint
from pychip_stream.model.encoders.dense import CELL, network_kind

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
    """Isotropic responses of a pyramid's half, quarter and eighth level, in float32."""

    dim = _LEVELS * PER_LEVEL
    """Components per cell."""

    def __init__(self) -> None:
        super().__init__()
        plain = kernels()[-_DERIVATIVES:]
        self.register_buffer("plain", plain, persistent=False)
        for number, step in enumerate(_STEPS):
            self.register_buffer(f"blocked{number}", _blocked(plain, step), persistent=False)

    @torch.no_grad()
    def forward(self, half: torch.Tensor, quarter: torch.Tensor) -> torch.Tensor:
        """Describe cells: (B, dim, H / 16, W / 16) float32.

        `half` and `quarter` are (B, 1, H / 2, W / 2) and (B, 1, H / 4, W / 4) float32 intensities.
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


_BANK_LEVELS = 4
ORIENTATIONS = 4
WAVELENGTHS = (3.0, 4.4)
"""Pixels at the finest level; each coarser level doubles them."""
KERNEL_RADIUS = 4
_DERIVATIVE_SIGMA = 1.2


class FilterBank(nn.Module):
    """Multiscale filter responses pooled over cells; a `Network`."""

    margin = 64
    version = "filters 1"
    """Changes whenever the same pixels would give other components."""
    full_precision = True
    """Small differences of large sums: half precision would cost accuracy."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kernels", kernels())
        bands = len(WAVELENGTHS)
        self.dim = _BANK_LEVELS * (bands * (ORIENTATIONS + 1) + 5) + 2 * _BANK_LEVELS

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Describe the cells of windows: (B, dim, H / 16, W / 16).

        `x` are (B, 1, H, W) intensities, useful range 0…1; H and W multiples of 16.
        """
        level = x
        parts = [_intensity(x)]
        for number in range(_BANK_LEVELS):
            if number:
                level = _halve(level)
            parts.extend(self._responses(level, CELL >> number))
        return torch.cat(parts, dim=1)

    def _responses(self, level: torch.Tensor, cell: int) -> list[torch.Tensor]:
        """Log-amplitudes of one pyramid level whose cells have `cell` pixels."""
        assert isinstance(self.kernels, torch.Tensor)
        stride = 2 if cell == CELL else 1  # envelopes are smooth: half the samples suffice
        pool = cell // stride
        padded = F.pad(level, (KERNEL_RADIUS,) * 4, mode="reflect")
        r = F.conv2d(padded, self.kernels.to(level.dtype), stride=stride)
        pairs = len(WAVELENGTHS) * ORIENTATIONS
        power = F.avg_pool2d(r[:, :pairs].square() + r[:, pairs : 2 * pairs].square(), pool)
        bands = power.reshape(-1, len(WAVELENGTHS), ORIENTATIONS, *power.shape[2:])
        gx, gy, xx, yy, xy = r[:, 2 * pairs :].unbind(1)
        half, root = (xx + yy) / 2, (((xx - yy) / 2).square() + xy.square()).sqrt()
        curved = torch.stack([F.relu(half + root), F.relu(-half + root), root], 1)
        slopes = torch.stack([gx.square() + gy.square()], 1)
        return [
            _log(power) / 2,
            _log(bands.sum(2)) / 2,
            _log(F.avg_pool2d(slopes, pool)) / 2,
            _log(F.avg_pool2d(curved, pool).square()) / 2,
            F.avg_pool2d(half.unsqueeze(1), pool) * 8,
        ]


def _intensity(x: torch.Tensor) -> torch.Tensor:
    """Explicit intensity: mean, log-deviation, and both against wider surroundings."""
    mean = F.avg_pool2d(x, CELL)
    spread = F.avg_pool2d(x.square(), CELL) - mean.square()
    parts = [mean * 4, _log(spread.clamp_min(0)) / 2]
    for reach in range(1, _BANK_LEVELS):
        wide = _blur(mean, reach)
        parts += [wide * 4, (mean - wide) * 8]
    return torch.cat(parts, dim=1)


def _blur(cells: torch.Tensor, reach: int) -> torch.Tensor:
    edge = 2 * reach + 1
    return F.avg_pool2d(F.pad(cells, (reach,) * 4, mode="replicate"), edge, stride=1)


def _log(power: torch.Tensor) -> torch.Tensor:
    return torch.log(power + _FLOOR**2)


def _halve(level: torch.Tensor) -> torch.Tensor:
    """Next pyramid level: binomial 1-3-3-1 per axis, then every second sample."""
    tap = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=level.dtype, device=level.device) / 8
    padded = F.pad(level, (1, 1, 1, 1), mode="reflect")
    return F.conv2d(padded, torch.outer(tap, tap)[None, None], stride=2)


def kernels() -> torch.Tensor:
    """(2·bands·orientations + 5, 1, 9, 9): even and odd Gabor pairs, then derivatives."""
    axis = torch.arange(-KERNEL_RADIUS, KERNEL_RADIUS + 1, dtype=torch.float64)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    even, odd = [], []
    for wavelength in WAVELENGTHS:
        envelope = torch.exp(-(x**2 + y**2) / (2 * (0.45 * wavelength) ** 2))
        envelope = envelope / envelope.sum()
        for step in range(ORIENTATIONS):
            angle = math.pi * step / ORIENTATIONS
            phase = 2 * math.pi / wavelength * (x * math.cos(angle) + y * math.sin(angle))
            wave = envelope * torch.cos(phase)
            even.append(2 * (wave - envelope * wave.sum()))  # no response to plain intensity
            odd.append(2 * envelope * torch.sin(phase))
    return torch.stack(even + odd + _derivatives(x, y)).unsqueeze(1).float()


def _derivatives(x: torch.Tensor, y: torch.Tensor) -> list[torch.Tensor]:
    """Gaussian derivatives x, y, xx, yy, xy, scale-normalised."""
    s = _DERIVATIVE_SIGMA
    g = torch.exp(-(x**2 + y**2) / (2 * s**2))
    g = g / g.sum()
    xx, yy = g * (x**2 / s**2 - 1), g * (y**2 / s**2 - 1)
    return [
        g * x / s,
        g * y / s,
        xx - g * xx.sum(),
        yy - g * yy.sum(),
        g * x * y / s**2,
    ]


def _find(weights: Path | None) -> tuple[FilterBank, str]:
    if weights is not None:
        raise EncoderError("encoder 'filters' takes no weights; leave encoder.weights empty")
    network = FilterBank()
    return network, checkpoint.weights_hash(network.version, network.state_dict())


KIND = network_kind("filters", _find)
