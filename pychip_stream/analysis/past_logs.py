"""Stimulus of runs: logs of the past are added, and offsets of clocks suggested."""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml
from pydantic import ValidationError
from scipy import fft

from pychip_stream.archive.files import RunPlaces
from pychip_stream.archive.nexus import iso
from pychip_stream.archive.readings import ReadingJournal, add_readings
from pychip_stream.archive.run import Run
from pychip_stream.domain.signals import Series, Times
from pychip_stream.errors import UsageError
from pychip_stream.section import problems, resolve
from pychip_stream.stimulus.dialect import LogError
from pychip_stream.stimulus.log_reading import Block, read_log, understand
from pychip_stream.stimulus_settings import StimulusConfig

_POINTS = 1 << 14
_SURE = {"changes": 0.5, "values": 0.7}
_RIVAL = 0.9
_NEAR = 4
_SPANS = 12
"""Changes are compared over spans no longer than this part of the curve."""
_CLIP = 8.0


def settings_of(paths: Sequence[Path]) -> list[StimulusConfig]:
    """Make settings of logs; a .yaml holds a list `stimulus:` as a configuration does.

    Raises
    ------
    UsageError
        If one cannot be understood, before anything is read.
    """
    found = []
    for path in paths:
        if path.suffix.lower() in (".yaml", ".yml"):
            found += _listed(path)
        else:
            found.append(StimulusConfig(log=path))
    for one in found:
        if one.log is None:
            raise UsageError(f"{one.source}: only logs can be read afterwards; give its log")
        try:
            understand(one.log, one)
        except LogError as error:
            raise UsageError(f"{error}") from error
        except OSError as error:
            raise UsageError(f"{one.log}: cannot be read ({error.strerror or error})") from error
    return found


def _listed(path: Path) -> list[StimulusConfig]:
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))["stimulus"]
        found = [StimulusConfig.model_validate(one) for one in tree]
    except (OSError, yaml.YAMLError, KeyError, TypeError, UnicodeError) as error:
        raise UsageError(f"{path}: holds no list `stimulus:` ({error})") from error
    except ValidationError as error:
        raise UsageError(f"{path}: {'; '.join(problems(error))}") from error
    return [resolve(one, path.resolve().parent) for one in found]


def blocks(settings: StimulusConfig) -> Iterator[Block]:
    """Read a log to its end."""
    assert settings.log is not None
    return read_log(settings.log, settings)


def add_logs(run: Run, settings: Sequence[StimulusConfig]) -> int:
    """Add logs to a run that is there, live or closed; returns how many readings they held.

    Raises
    ------
    PychipError
        If a log or the run's folder fails; of that log nothing is added then.
    """
    places = RunPlaces.of(run.path)
    ranks = itertools.count(len(run.stimulus.sources))
    return sum(
        add_readings(places, run.run_id, (b.readings for b in blocks(one)), next(ranks))
        for one in settings
    )


def keep(journal: ReadingJournal, settings: Sequence[StimulusConfig]) -> None:
    """Put logs into the journal of a run that is being written; what is there already is not."""
    for rank, one in enumerate(settings):
        for block in blocks(one):
            if block.end > journal.position(block.origin):
                journal.add(block.readings, rank, block.origin, block.end)


def describe(run: Run) -> list[dict[str, Any]]:
    """Tell of each source of a run what its readings gave its frames, ready for JSON."""
    stimulus, found = run.stimulus, []
    times = run.columns("time")["time"]
    for source in stimulus.sources:
        mine = [one for one in stimulus.series if one.source == source]
        spans = [one for one in mine if len(one.time)]
        first = min((float(one.time[0]) for one in spans), default=None)
        last = max((float(one.time[-1]) for one in spans), default=None)
        known = np.zeros(len(times), bool)
        for one in mine:
            known |= np.isfinite(one.at(times))
        offset = stimulus.offsets.get(source)
        entry: dict[str, Any] = {
            "source": source,
            "quantities": {one.quantity: one.unit for one in mine},
            "readings": max((len(one.time) for one in mine), default=0),
            "first": first,
            "last": last,
            "frames": int(known.sum()),
            "offset_s": stimulus.offset_s(source),
            "who": offset.who if offset else "",
            "when": offset.when if offset else None,
            "how": offset.how if offset else "",
        }
        entry["told"] = _told(entry, times)
        found.append(entry)
    return found


def _told(entry: dict[str, Any], times: Times) -> str:
    names = ", ".join(entry["quantities"])
    text = f"{entry['source']}: {names}; {entry['frames']} of {len(times)} frames have values"
    if entry["frames"] or entry["first"] is None or not len(times):
        return text
    spans = (entry["first"], entry["last"]), (float(times[0]), float(times[-1]))
    there, here = (" to ".join(map(iso, span)) for span in spans)
    return (
        f"{text}: its readings are of {there}, the frames of {here}; another log, or set its "
        "zone, date or offset"
    )


def suggested(run: Run, source: str) -> "Suggestion | None":
    """Suggest the offset of a source of a run, from mean counts, drift and every fraction."""
    times = run.columns("time", "intensity_mean", "drift")
    curves = {"intensity_mean": times["intensity_mean"], "drift": times["drift"]}
    curves |= {name: run.intervals[:, n, 0] for n, name in enumerate(run.names)}
    found = [
        suggest_offset(one, times["time"], curves)
        for one in run.stimulus.shifted(source, 0.0).series
        if one.source == source
    ]
    known = [one for one in found if one is not None]
    return max(known, key=lambda one: (one.sure, one.agreement), default=None)


class Suggestion(NamedTuple):
    """An offset of a clock, and how well it stands.

    Attributes
    ----------
    offset_s
        To add to the clock of the source.
    agreement
        Correlation at this offset, 0…1.
    sure
        Whether that is clear: high, and no other offset does nearly as well.
    how
        From what, in words.
    """

    offset_s: float
    agreement: float
    sure: bool
    how: str


def suggest_offset(
    series: Series, times: Times, curves: dict[str, Times], most_s: float = 7200.0
) -> Suggestion | None:
    """Find by how much the clock of a source is off, from what it and the frames both saw.

    Values and changes of the readings are correlated with the changes of each curve, values also
    with those over longer spans, over every shift (Pearson's coefficient over what overlaps);
    outliers are clipped. The clearest shift wins.

    Parameters
    ----------
    series
        Readings, on the source's own clock.
    times
        (n,) of the frames, seconds since 1970, rising.
    curves
        (n,) by name, such as mean counts, drift or a fraction.
    most_s
        Largest offset that is looked for.

    Returns
    -------
    None where nothing changed, or there is too little.
    """
    if len(times) < 8 or len(series.time) < 8:
        return None
    step = _step(times, series.time)
    start, other = times[0], series.time[0]
    signal = _grid(series.time - other, series.values, step)
    found: list[Suggestion] = []
    for name, values in curves.items():
        known = np.isfinite(values)
        if known.sum() < 8:
            continue
        curve = _grid(times[known] - start, values[known], step)
        for told, span, mine, seen in _compared(signal, curve):
            best = _best_shift(mine, seen, step, most_s, start - other)
            if best is None:
                continue
            shift, agreement, rival = best
            # Over long spans anything that happened once agrees with what else happened once.
            sure = span == 1 and agreement > _SURE[told] and rival < _RIVAL * agreement
            how = f"{told} of {series.quantity} against changes of {name}"
            found.append(Suggestion(shift, agreement, sure, how))
    top = max(found, key=lambda one: one.agreement, default=None)
    if top is None:
        return None
    # What agrees better at another offset takes the certainty from all that agrees less.
    near = [one for one in found if abs(one.offset_s - top.offset_s) <= _NEAR * step]
    clear = [one for one in near if one.sure]
    return max(clear, key=lambda one: one.agreement, default=top._replace(sure=False))


def _step(times: Times, others: Times) -> float:
    """Grid on which frames are not blurred, of bounded size."""
    usual = float(np.median(np.diff(times)))
    longest = float(max(times[-1] - times[0], others[-1] - others[0]))
    return max(usual, longest / _POINTS, 1e-3)


def _grid(times: Times, values: Times, step: float) -> Times:
    """Means over steps of a grid; where there is none, in between."""
    cell = np.floor(times / step + 0.5).astype(np.int64)
    count = np.bincount(cell)
    total = np.bincount(cell, values)
    there = np.flatnonzero(count)
    return np.interp(np.arange(len(count)), there, total[there] / count[there])


def _compared(signal: Times, curve: Times) -> Iterator[tuple[str, int, Times, Times]]:
    """Give what is compared in words, the span in steps, and both sides.

    The noise of a fraction is as large over a long span as over a short one, its change is not.
    """
    yield "changes", 1, np.diff(signal), np.diff(curve)
    span = 1
    while span == 1 or span <= min(len(signal), len(curve)) / _SPANS:
        mean = np.convolve(signal[1:], np.ones(span) / span, "valid")
        yield "values", span, mean, curve[span:] - curve[:-span]
        span *= 2


def _best_shift(
    signal: Times, curve: Times, step: float, most_s: float, base: float
) -> tuple[float, float, float] | None:
    """Offset, its correlation, and the best one at another offset."""
    signal, curve = _clipped(signal), _clipped(curve)
    if not signal.any() or not curve.any():
        return None
    size = len(signal) + len(curve) - 1
    long = int(fft.next_fast_len(size))

    def correlate(a: Times, b: Times) -> Times:
        found = fft.irfft(fft.rfft(a, long) * np.conj(fft.rfft(b, long)), long)
        return np.concatenate([found[long - len(b) + 1 :], found[: len(a)]])

    ones_s, ones_c = np.ones_like(signal), np.ones_like(curve)
    count = np.rint(correlate(ones_c, ones_s))
    total_c, total_s = correlate(curve, ones_s), correlate(ones_c, signal)
    spread_c = correlate(curve**2, ones_s) - total_c**2 / np.maximum(count, 1)
    spread_s = correlate(ones_c, signal**2) - total_s**2 / np.maximum(count, 1)
    cross = correlate(curve, signal) - total_c * total_s / np.maximum(count, 1)
    # Where little of what happened overlaps, chance agrees with anything.
    enough = (spread_c > 0.3 * spread_c.max()) & (spread_s > 0.3 * spread_s.max())
    shifts = np.arange(-(len(signal) - 1), len(curve)) * step + base
    enough &= (count > 0.3 * min(len(signal), len(curve))) & (np.abs(shifts) <= most_s)
    if not enough.any():
        return None
    agreement = np.zeros(len(cross))
    agreement[enough] = np.abs(cross[enough]) / np.sqrt(spread_c[enough] * spread_s[enough])
    top = int(agreement.argmax())
    near = np.abs(np.arange(len(agreement)) - top) <= max(3, _width(agreement, top))
    rival = float(agreement[~near].max(initial=0.0))
    return float(shifts[top]), float(min(agreement[top], 1.0)), rival


def _width(agreement: Times, top: int) -> int:
    """Count the steps around a peak that belong to it: twice those to half of it."""
    low = np.flatnonzero(agreement[: top + 1] < agreement[top] / 2)
    high = np.flatnonzero(agreement[top:] < agreement[top] / 2)
    left = top - int(low[-1]) if len(low) else top
    right = int(high[0]) if len(high) else len(agreement) - top
    return 2 * max(left, right)


def _clipped(values: Times) -> Times:
    """Centred, with outliers no further than so many usual deviations."""
    centred = values - np.median(values)
    usual = float(np.percentile(np.abs(centred), 90))
    return np.clip(centred, -_CLIP * usual, _CLIP * usual) if usual > 0 else centred
