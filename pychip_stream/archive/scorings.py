"""Scorings: which labels of a run are shown."""

from pychip_stream.archive.catalog import Catalog
from pychip_stream.archive.layout import ACQUIRED


def default_scoring(catalog: Catalog) -> str:
    """Name of the scoring that a run shows when none is asked for."""
    pointer = catalog.places.scorings / "default"
    try:
        chosen = pointer.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        chosen = next((p.default for p in catalog.parts if p.default), "")
    return chosen if chosen in catalog.scoring_names else ACQUIRED
