"""Weights on disk: reading them safely, and the hash that names them."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from pychip_stream.errors import EncoderError
from pychip_stream.plain_files import open_file

FORMAT = "pychip-stream encoder 1"


def weights_hash(label: str, state: Mapping[str, torch.Tensor]) -> str:
    """Name weights by their content (32 hexadecimal digits); the order does not matter.

    `label` is the architecture and the version of its code: equal weights in another architecture
    are another encoder.
    """
    digest = hashlib.blake2b(label.encode() + b"\0", digest_size=16)
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def read(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read a state dict without running any code that the file may hold.

    Parameters
    ----------
    path
        A file written by `write`, or any state dict, bare or under "state_dict"/"model".

    Returns
    -------
    The tensors by name (prefixes that wrappers add are removed), and the file's metadata. A file
    that is missing, damaged, or holds anything but tensors and plain values is an EncoderError.
    """
    try:
        with open_file(path) as file:
            tree = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise EncoderError(f"{path}: no such weights file; check encoder.weights") from error
    except Exception as error:  # torch.load raises whatever the damaged byte leads to
        detail = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise EncoderError(
            f"{path}: is not a state dict that can be read safely ({detail}); "
            "save it with torch.save(model.state_dict(), path)"
        ) from error
    if not isinstance(tree, dict):
        raise EncoderError(f"{path}: holds a {type(tree).__name__} where a state dict is expected")
    metadata = tree["metadata"] if tree.get("format") == FORMAT else {}
    for key in ("state_dict", "model", "state"):
        if isinstance(tree.get(key), dict):
            tree = tree[key]
            break
    state = {_plain(name): value for name, value in tree.items() if isinstance(value, torch.Tensor)}
    if not state:
        raise EncoderError(f"{path}: holds no tensors; is it a state dict?")
    return state, dict(metadata)


def write(path: Path, state: Mapping[str, torch.Tensor], metadata: Mapping[str, Any]) -> None:
    """Write weights with metadata (plain values) that says what made them."""
    torch.save({"format": FORMAT, "metadata": dict(metadata), "state": dict(state)}, path)


def _plain(name: str) -> str:
    for prefix in ("module.", "model.", "backbone.", "encoder."):
        name = name.removeprefix(prefix)
    return name
