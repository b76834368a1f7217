import json

import numpy as np
import pytest

from pychip_stream.errors import UsageError
from pychip_stream.sim.specimen import Experiment, Furnace


def heat(path, temperature_c):
    path.write_text(json.dumps({"temperature_c": temperature_c}))


def test_at_the_normal_temperature_nothing_is_different(tmp_path):
    plain = Experiment(frames=5, size=(64, 64))
    heated = Experiment(frames=5, size=(64, 64), furnace=Furnace(tmp_path / "none.json"))
    for i in range(5):
        assert np.array_equal(heated.frame(i).pixels, plain.frame(i).pixels)


def test_cold_stops_the_change_and_heat_speeds_it_up(tmp_path):
    control = tmp_path / "furnace.json"
    heated = Experiment(frames=9, size=(64, 64), furnace=Furnace(control))
    truths = [heated.truth(0)]
    heat(control, 150)
    truths += [heated.truth(1), heated.truth(2)]
    heat(control, 350)
    truths += [heated.truth(3), heated.truth(4)]
    changed = [int((a != truths[0]).sum()) for a in truths]
    assert heated.progress(2) == 0.0
    assert heated.progress(4) == 1.0  # four times as fast
    assert changed[4] > 0
    assert np.array_equal(heated.truth(4), truths[4])  # asked again it is the same
    with pytest.raises(UsageError):
        heated.frame(9)


USELESS = ["", "{", "[]", '{"temperature_c": "hot"}', '{"temperature_c": -5}']


@pytest.mark.parametrize("text", [*USELESS, '{"temperature_c": 1e9}', '{"temperature_c": null}'])
def test_a_useless_file_leaves_the_temperature(tmp_path, text):
    control = tmp_path / "furnace.json"
    furnace = Furnace(control)
    heat(control, 250)
    assert furnace.temperature_c == 250.0
    control.write_text(text)
    assert furnace.temperature_c == 250.0
