"""Numbers of chips in half precision: those that NumPy would give, but never infinite."""

import numpy as np
import pytest

from pychip_stream.domain.records import half


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_half_precision_is_numpys_to_the_bit(dtype):
    rng = np.random.default_rng(0)
    values = np.exp2(rng.uniform(-30, 15.9, 20_000)) * rng.choice([-1, 1], 20_000)
    steps = np.arange(4200) * 2.0**-25  # every other one lies between two subnormal numbers
    given = np.concatenate([values, steps, [0.0, -0.0, np.nan]]).astype(dtype)
    expected = given.astype(np.float16)
    np.testing.assert_array_equal(half(given).view(np.uint16), expected.view(np.uint16))


def test_what_is_too_large_stays_finite():
    found = half(np.array([np.inf, -np.inf, 1e6], np.float32))
    np.testing.assert_array_equal(found, np.array([65504, -65504, 65504], np.float16))
