"""Colours of classes can be told apart."""

import numpy as np

from pychip_stream.domain.colors import PALETTE, UNKNOWN_COLOR, _lab, _rgb, color_of, told_apart
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


def test_no_two_classes_have_one_colour_and_those_in_force_keep_theirs():
    """The curve of a class and that under its former name were one blue."""
    given = {"alpha": "#0072b2", "beta": "#e69f00", "gold": "#0072b2", "unknown": UNKNOWN_COLOR}
    found = told_apart(given, ("gold", "beta", "unknown"))
    assert list(found) == list(given)
    assert {name: found[name] for name in ("gold", "beta", "unknown")} == {
        name: given[name] for name in ("gold", "beta", "unknown")
    }
    assert found["alpha"] == color_of(2)
    assert told_apart(given, ("alpha",))["gold"] == color_of(2)
    many = told_apart({f"c{n}": "#0072b2" for n in range(40)})
    assert len(set(many.values())) == 40


def test_lab_is_that_of_the_standard():
    # White, and red as tables of sRGB give it.
    found = _lab(np.array([[255, 255, 255], [255, 0, 0]], float))
    np.testing.assert_allclose(found, [[100, 0, 0], [53.2, 80.1, 67.2]], atol=0.2)
