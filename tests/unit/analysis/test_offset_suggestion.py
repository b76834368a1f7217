"""Offsets of clocks, suggested from what a source and the frames both saw."""

import numpy as np
import pytest

from pychip_stream.analysis import offset_suggestion
from pychip_stream.analysis.offset_suggestion import suggest_offset
from pychip_stream.domain.signals import series_of
from pychip_stream.sim.furnace import HeatingProgram

START = 1.7e9


def series(time, values):
    return series_of("holder", "temperature", "degC", "number", 10.0, time, values)


def program_seen(
    offset, *, frames=300, rate=2.0, noise=0.0, seed=0, pause=(30.0, 33.0), around=20.0
):
    """A furnace's log on a clock that is off, and what frames saw of it."""
    random = np.random.default_rng(seed)
    times = START + np.arange(frames) / rate
    program = HeatingProgram(frames / rate)
    log = np.arange(-around, frames / rate + around, 0.2)
    log = log[(log < pause[0]) | (log > pause[1])]
    temperature = np.array([program.temperature_at(t) for t in log])
    speed = np.array([program.speed_at(t - 0.5 / rate) for t in times - START])  # as simulated
    fraction = np.cumsum(speed) / speed.sum() + random.normal(0, noise, frames)
    return series(log + START - offset, temperature), times, fraction


@pytest.mark.parametrize("offset", [37.0, -12.5, 0.0])
def test_the_offset_of_a_furnace_is_found_within_a_frame(offset):
    log, times, fraction = program_seen(offset, noise=5e-4)
    found = suggest_offset(log, times, {"beta": fraction})
    assert found.offset_s == pytest.approx(offset, abs=0.5)
    assert found.sure
    assert "beta" in found.how


def test_a_step_that_mean_counts_saw_either_way_with_outliers():
    random = np.random.default_rng(1)
    times = START + np.arange(400.0)
    state = np.where((times > START + 100) & (times < START + 180), 1.0, 0.0)
    state += (times > START + 300) * 0.5
    counts = 1000 - 40 * state + random.normal(0, 2, 400)
    counts[[50, 220]] = [5000, -3000]
    found = suggest_offset(series(times - 37.0, state), times, {"counts": counts})
    assert found.offset_s == pytest.approx(37.0, abs=1.0)
    assert found.sure


def test_noise_is_never_sure():
    random = np.random.default_rng(2)
    times = START + np.arange(300.0)
    found = suggest_offset(
        series(times, random.normal(0, 1, 300)), times, {"counts": random.normal(0, 1, 300)}
    )
    assert found is None or not found.sure


@pytest.mark.parametrize("seed", range(4))
def test_a_fraction_as_noisy_as_that_of_a_small_frame_is_near_and_never_sure(seed):
    log, times, fraction = program_seen(37.0, frames=120, rate=1.0, noise=0.05, seed=seed)
    found = suggest_offset(log, times, {"beta": fraction})
    assert found.offset_s == pytest.approx(37.0, abs=3.0)
    assert not found.sure


@pytest.mark.parametrize("seed", range(3))
def test_curves_that_are_noisy_alone_are_sure_together(seed):
    short = {"frames": 120, "rate": 8.0, "around": 0.0}
    log, times, _ = program_seen(37.0, **short)
    curves = {
        name: share * program_seen(0.0, noise=0.01, seed=10 * seed + n, **short)[2]
        for n, (name, share) in enumerate({"alpha": -0.4, "beta": 0.5, "amorphous": -0.1}.items())
    }
    found = suggest_offset(log, times, curves)
    assert found.offset_s == pytest.approx(37.0, abs=0.125)
    assert found.sure
    assert "alpha, beta, amorphous" in found.how


def test_what_happened_while_a_log_paused_makes_nothing_sure():
    """The fall at the end agrees with the reaction by chance, two seconds too early."""
    short = {"frames": 120, "rate": 8.0, "around": 0.0, "pause": (6.0, 9.0)}
    log, times, fraction = program_seen(37.0, noise=2e-3, **short)
    found = suggest_offset(log, times, {"beta": 0.5 * fraction})
    assert found.offset_s == pytest.approx(37.0, abs=0.125)


def grains_seen(kind, seed):
    """A ramp, or a heater that is switched, and what grains became that change one by one.

    The noise of each of three classes depends on the frame before, that of the counts does not;
    all see another part of the specimen than the reaction as a whole.
    """
    random = np.random.default_rng(seed)
    frames, rate = 160, 8.0
    late, fine = random.uniform(-30, 30), np.arange(0, frames / rate, 0.005)
    begun, ended = random.uniform(4, 8), random.uniform(12, 16)
    heat = np.where((fine > begun) & (fine < ended), 300.0, 100.0)
    if kind == "ramp":
        heat = np.interp(
            fine, [0, begun, begun + 0.5, ended, ended + 0.5], [150, 290, 150, 340, 100]
        )
    progress = np.cumsum(2.0 ** (heat / 25))
    times = np.arange(frames) / rate
    reached = np.interp(times, fine, progress / progress[-1])
    sizes, when = random.dirichlet(np.ones(400)), random.uniform(0, 1, 400) ** 1.5
    beta = np.clip((reached[:, None] - when) / 0.01, 0, 1) @ sizes
    noise = random.normal(0, 0.006, (frames, 3))
    for n in range(1, frames):
        noise[n] = 0.4 * noise[n - 1] + 0.9 * noise[n]
    left = 1 - beta
    shares = np.stack([0.7 * left, beta, 0.3 * left], axis=1) + noise - noise.mean(axis=1)[:, None]
    curves = dict(zip(["alpha", "beta", "amorphous"], shares.T, strict=True))
    curves["counts"] = 1000 - 40 * beta + random.normal(0, 1, frames)
    log = np.arange(0, frames / rate, 0.1)
    read = series(log + START - late, np.interp(log, fine, heat) + random.normal(0, 0.2, len(log)))
    return read, START + times, curves, late


@pytest.mark.parametrize("kind", ["ramp", "switch"])
def test_what_is_clear_is_right_within_a_frame_though_changes_add_up(kind):
    clear = 0
    for seed in range(8):
        log, times, curves, late = grains_seen(kind, seed)
        found = suggest_offset(log, times, curves)
        assert found.offset_s == pytest.approx(late, abs=4 * 0.125), seed
        clear += found.sure
        if found.sure:
            assert found.offset_s == pytest.approx(late, abs=0.126), seed
            assert found.within_s <= 0.126
    assert clear >= 2


def test_a_log_that_agrees_at_two_offsets_is_not_sure():
    log, times, fraction = program_seen(37.0, frames=120, rate=8.0, noise=0.03)
    assert not suggest_offset(log, times, {"beta": fraction}).sure


def test_what_agrees_better_elsewhere_takes_the_certainty_away():
    times = START + np.arange(120.0)
    step = 1.0 * (times > START + 80)
    alone = suggest_offset(series(times, step), times, {"counts": step})
    assert alone.offset_s == pytest.approx(0.0, abs=0.25)
    assert alone.sure and alone.within_s <= 1.0  # when between two readings it was, nobody knows
    noisy = 3 * step + np.random.default_rng(0).normal(0, 0.2, len(times))
    shifted = {"counts": noisy, "again": np.roll(step, 30)}
    found = suggest_offset(series(times, step), times, shifted)
    assert found.offset_s == pytest.approx(30.0, abs=1.0)
    assert not found.sure


def test_what_changes_smoothly_tells_less_than_it_has_frames(monkeypatch):
    """Neighbours repeat each other: a slow wave agrees nearly as well a few frames later."""
    random = np.random.default_rng(3)
    times, frames = START + np.arange(300.0), np.arange(300)
    wave = np.cumsum(np.convolve(random.normal(0, 1, 340), np.hanning(41), "valid"))
    counts = wave + np.cumsum(np.convolve(random.normal(0, 0.3, 340), np.hanning(41), "valid"))
    steps = np.cumsum(random.normal(0, 1, 300) * (frames % 10 == 0))
    monkeypatch.setattr(offset_suggestion, "_CLEAR", np.inf)  # single steps alone
    smooth = suggest_offset(series(times, np.gradient(wave)), times, {"counts": counts})
    assert smooth.agreement > 0.8 and smooth.within_s > 1.0
    assert not smooth.sure
    sharp = suggest_offset(series(times, steps), times, {"counts": steps})
    assert (sharp.offset_s, sharp.sure) == (0.0, True)


def test_curves_without_a_frame_in_common_are_looked_at_one_by_one():
    log, times, fraction = program_seen(37.0, noise=5e-4)
    curves = {str(k): np.where(np.arange(len(times)) % 6 == k, np.nan, fraction) for k in range(6)}
    found = suggest_offset(log, times, curves)
    assert found.offset_s == pytest.approx(37.0, abs=0.5)


def test_nothing_that_changed_suggests_nothing():
    times = START + np.arange(300.0)
    flat = series(times, np.ones(300))
    assert (
        suggest_offset(flat, times, {"counts": np.random.default_rng(0).normal(size=300)}) is None
    )
    assert suggest_offset(flat, times[:3], {}) is None
