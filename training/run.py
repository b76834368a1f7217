"""The training loop: resumable, seeded, with a log of the curve."""

import copy
import csv
import json
import logging
import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pychip_stream.model.encoders import checkpoint
from pychip_stream.model.encoders.network import CellNet, Design
from training.episodes import Batch, score
from training.scenes import Rng
from training.stream import BORDER, Pool

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """What determines a run, apart from the code.

    Attributes
    ----------
    steps
        Length of the run; the rate falls along a cosine to its end. Steps and not minutes: a
        busy machine takes longer, and the result stays the same.
    start
        Weights file to begin with, "" for random ones.
    seed
        Of the weights, the scenes and the episodes.
    device
        Of the network, "" for a GPU where there is one.
    threads, workers
        Threads of the network, and processes that draw scenes.
    size, batch
        Edge of a scene in pixels, and pairs of scenes per step.
    rate, decay, average
        Of AdamW, and of the moving average of the weights that is exported.
    """

    steps: int = 12000
    start: str = ""
    seed: int = 1
    device: str = ""
    threads: int = 1
    workers: int = 1
    size: int = 384
    batch: int = 4
    rate: float = 2e-3
    decay: float = 0.02
    average: float = 0.998


def design(settings: Settings) -> Design:
    """Sizes of the network to train: those of the weights to begin with, else the default."""
    if not settings.start:
        return Design()
    _, metadata = checkpoint.read(Path(settings.start))
    return Design.parse(metadata["design"])


class Run:
    """One training run in a folder that it can be resumed from."""

    def __init__(self, folder: Path, settings: Settings, design: Design) -> None:
        torch.set_num_threads(settings.threads)
        torch.manual_seed(settings.seed)
        self.folder, self.settings = folder, settings
        found = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(settings.device or found)
        self.network = CellNet(design).to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.temperatures = torch.nn.Parameter(torch.tensor([-1.0, 1.0], device=self.device))
        self.average = copy.deepcopy(self.network).eval()
        groups: list[dict[str, Any]] = [
            {"params": list(self.network.parameters())},
            {"params": [self.temperatures], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(
            groups,
            lr=settings.rate,
            weight_decay=settings.decay,
        )
        self.step, self.elapsed = 0, 0.0
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / "last.pt").exists():
            self._resume()
        elif settings.start:
            self._begin_with(Path(settings.start))

    @property
    def progress(self) -> float:
        """Share of the steps that is done, 0…1."""
        return min(self.step / self.settings.steps, 1.0)

    def train(self) -> None:
        """Train to the last step."""
        s = self.settings
        # One for each thread: which of them draws first is chance.
        drawing, turning = np.random.default_rng([s.seed, self.step]).spawn(2)
        pool = Pool(s.size, s.seed * 7919 + self.step, s.workers)
        logger.info("waiting for the first scenes")
        scenes, losses, saved = pool.fill(4 * s.batch), [], time.monotonic()
        with ThreadPoolExecutor(1) as aside:
            try:
                ahead = aside.submit(self._batch, pool, drawing)
                while self.progress < 1:
                    start = time.monotonic()
                    images, batch, fresh = ahead.result()
                    ahead = aside.submit(self._batch, pool, drawing)
                    scenes += fresh
                    losses.append(self._step(images, batch, turning))
                    self.elapsed += time.monotonic() - start
                    if self.step % 100 == 0:
                        self._log(losses[-100:], scenes)
                    if time.monotonic() - saved > 60:
                        self.save()
                        saved = time.monotonic()
                ahead.result()
            finally:
                self.save()
                pool.close()

    def _batch(self, pool: Pool, rng: Rng) -> tuple[torch.Tensor, Batch, int]:
        """Draw the episodes of one step; say how many pairs of scenes have come meanwhile."""
        fresh = pool.fill(1)
        drawn = [pool.draw(rng) for _ in range(self.settings.batch)]
        images = np.stack([a for a, _, _ in drawn] + [b for _, b, _ in drawn])[:, None]
        batch = Batch.of([episode for _, _, episode in drawn], self.device)
        return torch.from_numpy(images).to(self.device), batch, fresh

    def _step(self, images: torch.Tensor, batch: Batch, rng: Rng) -> tuple[float, float, float]:
        """One step; returns loss and the two accuracies.

        Parameters
        ----------
        images
            (2 E, 1, H, W) float16: the first scenes of the episodes, then the second ones. All
            are turned and mirrored alike, some episodes are inverted.
        """
        episodes = len(images) // 2
        turns, flip = int(rng.integers(4)), bool(rng.uniform() < 0.5)
        inverted = torch.from_numpy(rng.uniform(size=(episodes, 1, 1, 1)) < 0.3).to(self.device)
        x = images.float()
        x = torch.where(inverted.repeat(2, 1, 1, 1), 1 - x, x).rot90(turns, (2, 3))
        x = (x.flip(3) if flip else x).contiguous()
        rate = self._rate()
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.network.train()
        with torch.autocast(self.device.type, torch.bfloat16):
            features = self.network(x).float()
        features = (features.flip(3) if flip else features).rot90(-turns, (2, 3))
        features = features[..., BORDER:-BORDER, BORDER:-BORDER].contiguous()
        first, second = features.chunk(2)
        outcome = score(batch, first, second, self.temperatures)
        loss = outcome.loss
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        if torch.isfinite(norm):
            self.optimizer.step()
            self._follow()
        self.step += 1
        return float(loss.detach()), float(outcome.own), float(outcome.other)

    def _rate(self) -> float:
        warm = min((self.step + 1) / 200, 1.0)
        return (
            self.settings.rate
            * warm
            * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * self.progress)))
        )

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the average of the weights."""
        keep = min(self.settings.average, 1 - 1 / (self.step + 10))
        for mine, theirs in zip(
            self.average.state_dict().values(), self.network.state_dict().values(), strict=True
        ):
            if mine.dtype.is_floating_point:
                mine.lerp_(theirs, 1 - keep)
            else:
                mine.copy_(theirs)

    def _log(self, recent: list[tuple[float, float, float]], scenes: int) -> None:
        loss, own, other = np.nanmean(recent, axis=0)
        row = [self.step, round(self.elapsed), scenes, f"{loss:.4f}", f"{own:.4f}", f"{other:.4f}"]
        path = self.folder / "curve.csv"
        fresh = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.writer(file)
            if fresh:
                writer.writerow(["step", "seconds", "pairs", "loss", "own", "other"])
            writer.writerow(row)
        logger.info(
            "step %d (%.0f %%): loss %.3f, own scene %.3f, other scene %.3f",
            self.step, 100 * self.progress, loss, own, other,
        )  # fmt: skip

    def save(self) -> None:
        """Write everything that resuming needs, then put it in place."""
        tree = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "temperatures": self.temperatures.detach(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "elapsed": self.elapsed,
            "settings": asdict(self.settings),
            "design": asdict(self.network.design),
        }
        part = self.folder / "last.part"
        torch.save(tree, part)
        part.replace(self.folder / "last.pt")
        (self.folder / "settings.json").write_text(
            json.dumps({"settings": tree["settings"], "design": tree["design"]}, indent=1)
        )

    def _begin_with(self, path: Path) -> None:
        state, _ = checkpoint.read(path)
        for network in (self.network, self.average):
            network.load_state_dict(state, strict=False)

    def _resume(self) -> None:
        tree: dict[str, Any] = torch.load(
            self.folder / "last.pt", map_location=self.device, weights_only=True
        )
        self.network.load_state_dict(tree["network"])
        self.average.load_state_dict(tree["average"])
        self.temperatures.data.copy_(tree["temperatures"])
        self.optimizer.load_state_dict(tree["optimizer"])
        self.step, self.elapsed = tree["step"], tree["elapsed"]
        logger.info("resumed at step %d", self.step)
