"""Sliders of a chip's size: what they tell, and what they do not."""

from panel_material_ui import Checkbox, IntSlider

from dashboard.parts.grid_controls import GridControls
from dashboard.work.frame_pictures import grid_shape
from pychip_stream.domain.chips import ChipSize


def controls(size=(64, 64), **options):
    told = []
    grid = GridControls(ChipSize(*size), told.append, **options)
    width, height = grid.panel().select(IntSlider)
    (square,) = grid.panel().select(Checkbox)
    return grid, told, width, height, square


def test_a_square_moves_as_one_and_says_it_once():
    grid, told, width, height, _ = controls()
    width.value = 40
    assert grid.size == ChipSize(40, 40)
    assert told == [ChipSize(40, 40)]
    assert not height.visible


def test_edges_move_alone_where_it_is_no_square():
    grid, told, width, height, square = controls((34, 35))
    assert height.visible
    width.value = 50
    assert told == [ChipSize(50, 35)]
    square.value = True
    assert grid.size == ChipSize(50, 50) == told[-1]
    assert not height.visible


def test_what_is_shown_is_not_told_and_stays_on_the_frame():
    grid, told, width, height, square = controls()
    grid.fit((100, 240))
    grid.show(ChipSize(64, 64))
    assert grid.size == ChipSize(64, 50)
    grid.show(ChipSize(34, 35))
    assert grid.size == ChipSize(34, 35)
    assert not square.value
    assert (width.end, height.end) == (120, 50)
    assert told == []


def test_only_who_may_moves_them_and_no_further_than_allowed():
    _, _, width, height, _ = controls(least=8, enabled=False)
    assert width.disabled
    assert height.disabled
    assert width.start == height.start == 8


def test_the_grid_of_a_size():
    assert grid_shape((790, 787), ChipSize(34, 35)) == [22, 23]
    assert grid_shape((20, 787), ChipSize(34, 35)) == [0, 0]


def test_a_number_is_written_as_on_the_command_line_and_told_as_a_length():
    grid, told, _, height, square = controls()
    grid.fit((4096, 4096), 0.05, "nm")
    grid._number.value = "34x35"
    assert told == [ChipSize(34, 35)]
    assert (height.visible, square.value, grid._length.object) == (True, False, "= 1.7 × 1.75 nm")
    grid._number.value = "800"  # further than the sliders reach
    assert grid.size == ChipSize(800, 800)
    grid._number.value = "99999"
    assert grid.size == ChipSize(2048, 2048)
    grid._number.value = "wide"
    assert grid._number.error_state
    assert grid.size == ChipSize(2048, 2048)
