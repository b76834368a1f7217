"""Made-up embeddings with known truth, shared by the tests of the classifier's parts."""

import numpy as np
import pytest

from pychip_stream.domain.chips import CELLS, ChipSize
from pychip_stream.domain.normalization import Normalization
from pychip_stream.domain.support import (
    ChipSource,
    SupportChip,
    SupportEmbedding,
    SupportSet,
    make_classes,
)

CELL_COUNT = CELLS * CELLS


class Made:
    """Builds support sets from arrays; chips get places on a grid of their own."""

    def support(self, cells, labels, background, places=None, names=None, pixels=None):
        labels = [int(n) for n in labels]
        names = names or [f"class {i}" for i in range(max(labels) + 1)]
        places = places or [divmod(7 * i, 19) for i in range(len(labels))]
        chips = tuple(
            SupportChip(
                names[label],
                np.full((8, 8), i if pixels is None else pixels[i], np.uint16),
                ChipSource("frame.tif", 0, *place),
            )
            for i, (label, place) in enumerate(zip(labels, places, strict=True))
        )
        embedding = SupportEmbedding(
            "made up", "0" * 16, np.asarray(cells, np.float32), np.asarray(background, np.float32)
        )
        return SupportSet(
            make_classes(names), chips, ChipSize(8, 8), Normalization(), embedding=embedding
        )

    def cells(self, centres, rng, chip=0.5, cell=1.0):
        """(n, 16, D) cells scattered about (n, D) centres, cells of a chip together."""
        n, dim = centres.shape
        return (
            centres[:, None]
            + chip * rng.normal(size=(n, 1, dim))
            + cell * rng.normal(size=(n, CELL_COUNT, dim))
        )


@pytest.fixture(scope="session")
def made():
    return Made()
