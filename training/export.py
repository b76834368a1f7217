"""From a training run's folder to a weights file that the package can load."""

import subprocess
from pathlib import Path

import torch

from pychip_stream.model.encoders import checkpoint


def export(folder: Path, target: Path) -> None:
    """Write the averaged weights in half precision, with what made them as metadata."""
    tree = torch.load(folder / "last.pt", map_location="cpu", weights_only=True)
    state = {
        name: value.half() if value.dtype == torch.float32 else value
        for name, value in tree["average"].items()
        if not name.endswith("num_batches_tracked")
    }
    metadata = {
        "architecture": "cells",
        "design": tree["design"],
        "settings": tree["settings"],
        "step": tree["step"],
        "seconds": round(tree["elapsed"]),
        "commit": commit(),
    }
    checkpoint.write(target, state, metadata)


def commit() -> str:
    """Commit of the recipe, with "+" if the working tree has changes to it."""
    root = Path(__file__).resolve().parent.parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    changed = git("status", "--porcelain", "--", "training", "pychip_stream/model/encoders")
    return git("rev-parse", "HEAD") + ("+" if changed else "")
