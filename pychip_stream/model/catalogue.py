"""Which encoders there are, and where their weights come from."""

from pathlib import Path

from torch import nn

from pychip_stream.errors import EncoderError
from pychip_stream.model import checkpoint, resnet
from pychip_stream.model.filterbank import FilterBank

BUNDLED = Path(__file__).parent / "weights" / "bundled.pt"
"""The package's own trained weights."""


def find(name: str, weights: Path | None) -> tuple[nn.Module, str]:
    """Build the network that a name means and return it with the hash of its weights.

    Raises
    ------
    EncoderError
        If the name is unknown, or the weights are missing or do not fit.
    """
    if name in ("bundled", "filters") and weights is None:
        return _filters()
    if name in resnet.NAMES:
        return resnet.load(name, weights)
    if name == "bundled" and weights is not None:
        return _from_file(weights)
    path = Path(name)
    if weights is None and (path.is_file() or path.suffix):
        return _from_file(path)
    raise EncoderError(
        f"encoder {name!r}: unknown; choose 'bundled', 'filters', "
        f"{', '.join(resnet.NAMES)}, or the path of a weights file"
    )


def _filters() -> tuple[nn.Module, str]:
    network = FilterBank()
    return network, checkpoint.weights_hash(network.version, network.state_dict())


def _from_file(path: Path) -> tuple[nn.Module, str]:
    state, _ = checkpoint.read(path)
    name = resnet.guess_name(state)
    if name is None:
        raise EncoderError(
            f"{path}: the tensors fit none of the known networks ({', '.join(resnet.NAMES)})"
        )
    return resnet.load(name, path)
