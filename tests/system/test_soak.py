import pytest

from tests.support import chaos
from tests.support.soak import SECTIONS, soak

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(1500)]

FRAMES = 700


def test_nothing_grows_with_the_number_of_frames(stack, tmp_path, record_property):
    run = stack(chaos.make_support(tmp_path), **SECTIONS).start()
    report = soak(run, FRAMES)
    code, document = run.stop()
    record_property("figures", report.table(FRAMES // 4))
    assert (code, document["frames"], document["failed"]) == (0, FRAMES, [])
    assert report.growth("handles", FRAMES // 2)[0] < 20
    assert report.growth("rss_mb", FRAMES // 2)[0] < 60
    # Here only what grows without bound is caught; benchmarks/soak.py measures the cost finely.
    half = FRAMES // 2
    assert report.cost_ms(half, FRAMES) < 1.5 * report.cost_ms(FRAMES // 4, half)
