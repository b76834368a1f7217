"""Colours of classes can be told apart."""

import numpy as np

from pychip_stream.domain.colors import PALETTE, UNKNOWN_COLOR, _lab, _rgb, color_of
from pychip_stream.domain.support import make_classes


def nearest(count):
    """Smallest CIELAB distance between the first colours, and to that of unknown."""
    colors = [*(color_of(number) for number in range(count)), UNKNOWN_COLOR]
    places = _lab(np.array([_rgb(color) for color in colors], float))
    apart = np.linalg.norm(places[:, None] - places, axis=-1)
    np.fill_diagonal(apart, np.inf)
    return apart.min()


def test_the_first_ten_are_for_everybody():
    assert tuple(color_of(number) for number in range(10)) == PALETTE


def test_colors_of_many_classes_differ():
    assert nearest(11) > 15  # as far as the first ten are apart
    assert nearest(32) > 15
    assert nearest(250) > 5
    assert len({one.color for one in make_classes([f"c{n}" for n in range(250)])}) == 250


def test_lab_is_that_of_the_standard():
    # White, and red as tables of sRGB give it.
    found = _lab(np.array([[255, 255, 255], [255, 0, 0]], float))
    np.testing.assert_allclose(found, [[100, 0, 0], [53.2, 80.1, 67.2]], atol=0.2)
