"""Running: finds the run that a configuration has started."""

from pathlib import Path

from pychip_stream import config as configuration
from pychip_stream.errors import UsageError


def running_config(path: Path) -> configuration.Config:
    """Load the configuration of a run that is going on, with the ports that it chose.

    Raises
    ------
    UsageError
        If ports are chosen at the start and no run has been started.
    """
    config = configuration.load(path)
    if config.wire.requests and config.wire.events:
        return config
    resolved = config.archive.folder / f"{config.archive.name}.resolved.yaml"
    if not resolved.exists():
        raise UsageError(f"{path}: no run of this config is going on; start `pychip-stream run`")
    return configuration.load(resolved)
