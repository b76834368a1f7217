"""Soak: many small frames through a run; memory, handles and the cost of a frame stay flat."""

import io
import time
from dataclasses import dataclass, field

import tifffile

from tests.support import chaos

AHEAD = 120
SECTIONS = {
    "watch": {"quiet_s": 0.2, "reconcile_s": 5.0},
    "archive": {"segment_s": 2.0},
}


@dataclass
class Sample:
    """What the services took when `archived` frames were in the archive."""

    archived: int
    at_s: float
    cpu_s: dict
    rss_mb: dict
    handles: dict


@dataclass
class Report:
    """Samples over a run, and what follows from them."""

    frames: int
    samples: list = field(default_factory=list)

    def near(self, archived):
        return min(self.samples, key=lambda s: abs(s.archived - archived))

    def cost_ms(self, first, last):
        """Processor time of all services per frame between two counts, in milliseconds."""
        return sum(self.costs_ms(first, last).values())

    def costs_ms(self, first, last):
        """The same for each service."""
        a, b = self.near(first), self.near(last)
        count = max(b.archived - a.archived, 1)
        return {
            name: 1000 * (used - a.cpu_s.get(name, 0.0)) / count for name, used in b.cpu_s.items()
        }

    def growth(self, what, first):
        """Largest growth of a service from `first` archived frames to the end, and whose."""
        a, b = getattr(self.near(first), what), getattr(self.samples[-1], what)
        return max((b[name] - a.get(name, b[name]), name) for name in b)

    def table(self, step):
        """Figures as a table for people: cost of the second and of the last `step` frames."""
        second = self.cost_ms(step, 2 * step)
        newest = self.cost_ms(self.frames - step, self.frames)
        memory, whose = self.growth("rss_mb", 2 * step)
        handles, holder = self.growth("handles", 2 * step)
        early = self.costs_ms(step, 2 * step)
        late = self.costs_ms(self.frames - step, self.frames)
        split = ", ".join(
            f"{n} {early.get(n, 0.0):.1f} to {c:.1f}" for n, c in sorted(late.items())
        )
        seconds = self.samples[-1].at_s - self.samples[0].at_s
        rows = [
            ("frames", self.frames),
            (f"ms per frame, {step} to {2 * step}", f"{second:.1f}"),
            (f"ms per frame, last {step}", f"{newest:.1f} ({newest / second:.2f} times)"),
            ("of which", split),
            ("memory grew by", f"{memory:.1f} MB ({whose})"),
            ("handles grew by", f"{handles:.0f} ({holder})"),
            ("frames per second", f"{self.frames / seconds:.1f}"),
        ]
        return "\n".join(f"{name:<34}{value}" for name, value in rows)


def soak(run, frames, say=lambda _: None):
    """Feed a run a little ahead of it until it has archived `frames`; returns the report."""
    images = []
    for pixels in chaos.patterns():
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, pixels)
        images.append(buffer.getvalue())
    report, written, told = Report(frames), 0, 0
    run.listen_for(lambda: run.monitor.state("worker-1") == "running", "the worker is ready", 300)
    end = time.monotonic() + 60
    while (done := int(run.monitor.counter("archived"))) < frames:
        if not report.samples or done > report.samples[-1].archived:
            end = time.monotonic() + 120
            report.samples.append(_sample(run, done))
        assert time.monotonic() < end, "\n".join(run.log[-20:])
        while written < min(done + AHEAD, frames):
            path = run.root / f"part_{written // 1000:03}" / f"frame_{written:06}.tif"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(images[written % len(images)])
            written += 1
        if done >= told + 1000:
            told = done
            say(f"{done} frames")
        run.monitor.listen(0.2)
    settle = time.monotonic() + 3  # one more beat of every heart
    while time.monotonic() < settle:
        run.monitor.listen(0.2)
    report.samples.append(_sample(run, frames))
    return report


def _sample(run, archived):
    statuses = run.monitor.statuses.items()

    def column(name):
        return {i: s.counters[name] for i, s in statuses if name in s.counters}

    return Sample(archived, time.monotonic(), column("cpu_s"), column("rss_mb"), column("handles"))
