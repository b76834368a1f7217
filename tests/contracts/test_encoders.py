"""What every encoder must do, and how another package adds one."""

import numpy as np
import pytest

from pychip_stream.domain.chips import CELLS
from pychip_stream.domain.frames import Frame
from pychip_stream.domain.normalization import Normalization
from pychip_stream.model.encoders import ENCODERS, int8, load_encoder, resnet
from tests.contracts.outside import install, tell

RANGE = Normalization("range", 0.0, 4096.0)
PIXELS = np.random.default_rng(0).integers(0, 4096, (70, 130), dtype=np.uint16)

OUTSIDE = """
import numpy as np
from pychip_stream.domain.chips import CELLS, ChipSize, Grid
from pychip_stream.domain.frames import Frame
from pychip_stream.model.encoders.encoder import EncoderKind

class Means:
    name, weights_hash, dim, device = "means", "0" * 32, 1, "abacus"

    def embed_cells(self, image, chip_size, normalization=None):
        pixels = image.pixels if isinstance(image, Frame) else image
        grid = Grid.of(pixels.shape, ChipSize.parse(chip_size))
        height, width = grid.chip_size.height, grid.chip_size.width
        chips = pixels[: grid.rows * height, : grid.columns * width].astype(np.float32)
        cells = chips.reshape(grid.rows, CELLS, height // CELLS, grid.columns, CELLS, -1)
        return cells.mean((2, 5)).transpose(0, 2, 1, 3).reshape(grid.rows, grid.columns, -1, 1)

    def embed(self, image, chip_size, normalization=None):
        return self.embed_cells(image, chip_size, normalization).mean(2)

KIND = EncoderKind("means", lambda weights, device, precision: Means())
"""


@pytest.fixture(
    params=[
        *((kind.name, "float32") for kind in ENCODERS),
        *([("bundled", "int8")] if int8.available() else []),
    ],
    ids=":".join,
    scope="module",
)
def encoder(request):
    name, precision = request.param
    with pytest.MonkeyPatch.context() as patch:

        def random_weights(name):
            return getattr(resnet.torchvision_models(), name)(weights=None).state_dict()

        patch.setattr(resnet, "_downloaded", random_weights)
        found = load_encoder(name, device=f"cpu/{precision}")
        assert found.device == f"cpu/{precision}"
        return found


class TestEncoder:
    def test_it_says_what_it_is(self, encoder):
        assert encoder.name in ENCODERS
        assert len(encoder.weights_hash) == 32
        assert encoder.dim > 0

    def test_a_chip_is_the_mean_of_its_cells(self, encoder):
        cells = encoder.embed_cells(PIXELS, "64x32", RANGE)
        chips = encoder.embed(Frame(PIXELS), "64x32", RANGE)
        assert cells.shape == (2, 2, CELLS * CELLS, encoder.dim)
        assert chips.shape == (2, 2, encoder.dim)
        assert chips.dtype == cells.dtype == np.float32
        assert np.isfinite(cells).all()
        np.testing.assert_allclose(cells.mean(2), chips, rtol=1e-3, atol=1e-4)

    def test_it_needs_no_normalization(self, encoder):
        assert np.isfinite(encoder.embed(PIXELS, 64)).all()


def test_one_from_outside_classifies(tmp_path):
    there = install(tmp_path / "site", "pychip_stream.encoders", "KIND", OUTSIDE)
    script = """
import json
import numpy as np
import pychip_stream as ps
from pychip_stream.config import EncoderConfig
from pychip_stream.model.encoders import open_encoder
noise = np.random.default_rng(0).normal(0, 1, (64, 64))
frame = ps.Frame((noise + 100 * (np.arange(64) > 31)).astype(np.float32))
picks = {"dark": [(0, 0), (1, 0)], "bright": [(0, 3), (1, 3)]}
support = ps.SupportSet.from_picks(frame, 16, picks)
fitted = ps.Classifier.fit(support, encoder=open_encoder(EncoderConfig(name="means")))
print(json.dumps(fitted.predict(frame, reject=False).labels[0].tolist()))
"""
    assert tell(there, script) == ["dark", "dark", "bright", "bright"]
