"""Provenance: what a run says of where its numbers come from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from pychip_stream.archive.catalog import Catalog
from pychip_stream.archive.segment import Session


def sessions(catalog: Catalog) -> tuple[Session, ...]:
    """List the starts of the archiver, with the config and versions that each was told."""
    found = {s.number: s for p in catalog.parts for s in p.header.sessions}
    return tuple(found[number] for number in sorted(found))


def config(metadata: Mapping[str, str]) -> dict[str, Any]:
    """Return the configuration among what the archiver was told; empty where there is none."""
    try:
        tree = yaml.safe_load(metadata.get("config", ""))
    except yaml.YAMLError:
        return {}
    return tree if isinstance(tree, dict) else {}


def root(metadata: Mapping[str, str]) -> Path | None:
    """Return the acquisition folder that the frames' paths are relative to, where it is known."""
    if "root" in metadata:
        return Path(metadata["root"])
    watch = config(metadata).get("watch")
    named = watch.get("root") if isinstance(watch, dict) else None
    return Path(named) if isinstance(named, str) else None
