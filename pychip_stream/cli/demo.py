"""`demo`: a simulated in-situ experiment through the whole pipeline on this machine."""

import tempfile
import time
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from pychip_stream import config as configuration
from pychip_stream.cli.options import Json
from pychip_stream.cli.output import report, say
from pychip_stream.cli.session import Session
from pychip_stream.config import Config
from pychip_stream.domain.chips import ChipSize
from pychip_stream.domain.frames import Frame
from pychip_stream.domain.support import SupportSet
from pychip_stream.errors import PychipError, UsageError
from pychip_stream.operation.monitor import Monitor
from pychip_stream.operation.running import module

if TYPE_CHECKING:
    from pychip_stream.sim.specimen import Experiment

CHIP_SIZE = ChipSize(32, 32)
_PICKS_PER_CLASS = 6
_ENDLESS_FRAMES = 600
_STALLED_S = 120.0


def demo(
    frames: Annotated[
        int | None, typer.Option(min=1, help="end after this many frames; default: Ctrl-C ends")
    ] = None,
    rate: Annotated[float, typer.Option(min=0.01, max=1000, help="frames per second")] = 2.0,
    out: Annotated[
        Path | None, typer.Option(help="folder for everything; default: temporary")
    ] = None,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="open no browser window")
    ] = False,
    seed: Annotated[int, typer.Option(help="of the simulated specimen")] = 0,
    as_json: Json = False,
) -> None:
    """Watch a simulated in-situ experiment become live phase fractions in a browser."""
    folder = _empty_folder(out)
    count = frames or _ENDLESS_FRAMES
    say(f"preparing the experiment in {folder}")
    config = prepare(folder, count, seed)
    session = Session(config)
    director = _Director(session, count, rate, seed, bounded=frames is not None)
    director.browser = not no_browser
    session.run(director.step)
    summary = session.summary()
    if "error" in summary:
        raise PychipError(summary["error"])
    if summary["run"] is not None:
        from pychip_stream.archive.run import open_run
        from pychip_stream.sim.truth import mean_absolute_error

        with open_run(session.config.run_path) as run:
            error = mean_absolute_error(run.fractions, config.watch.root)
        summary["mean_abs_error"] = None if np.isnan(error) else round(error, 5)
    summary["folder"] = str(folder)
    if frames is not None and summary["frames"] != frames:
        raise PychipError(
            f"{summary['frames']} of {frames} frames were archived; the log above says why"
        )
    report(
        summary,
        as_json=as_json,
        text=f"{summary['run']}: {summary['frames']} frames, mean absolute error of the "
        f"fractions {summary.get('mean_abs_error')}\n{_farewell(folder, session.config)}",
    )


def examples_of(experiment: "Experiment", seed: int) -> SupportSet:
    """Make a support set of clean chips of an experiment's first frame."""
    from pychip_stream.model.embedding import embed_support
    from pychip_stream.model.encoders import load_encoder

    first = experiment.frame(0)
    frame = Frame(first.pixels, pixel_size=first.pixel_size_nm, unit="nm", source="simulated")
    picks = experiment.picks(0, CHIP_SIZE, _PICKS_PER_CLASS, np.random.default_rng(seed))
    support = SupportSet.from_picks(
        frame, CHIP_SIZE, picks, author="demo", note="clean chips of the first simulated frame"
    )
    return embed_support(support, load_encoder())


def prepare(folder: Path, frames: int, seed: int) -> Config:
    """Write the demo's configuration and a support set picked from its first frame."""
    from pychip_stream.archive.support_sets import save_support
    from pychip_stream.sim.specimen import Experiment

    support_path = folder / "demo-support.h5"
    save_support(examples_of(Experiment(seed=seed, frames=frames), seed), support_path)
    (folder / "acquisition").mkdir(exist_ok=True)
    config = configuration.parse(
        {
            "watch": {"root": "acquisition"},
            "support": {"initial": str(support_path)},
            "archive": {"name": "demo", "segment_s": 1.0},
            "stimulus": [{"name": "furnace", "log": "furnace.csv"}],
            "dashboard": {"below": "temperature_C"},
        },
        where="demo",
        base=folder,
    )
    (folder / "config.yaml").write_text(configuration.dump(config), encoding="utf-8")
    return config


class _Director:
    """Starts the practice microscope once the pipeline is up; ends a bounded demo."""

    def __init__(
        self, session: Session, frames: int, rate: float, seed: int, *, bounded: bool
    ) -> None:
        self._session = session
        self._frames = frames
        self._rate = rate
        self._seed = seed
        self._bounded = bounded
        self._started = False
        self._progress = (0.0, time.monotonic())
        self.browser = False

    def step(self, monitor: Monitor) -> bool:
        """Whether the demo is over."""
        if not self._started:
            ready = monitor.state("watcher") == monitor.state("worker-1") == "running"
            page = not self._session.config.dashboard.enabled or (
                monitor.state("dashboard") == "running"
            )
            if ready and page:
                self._start()
        done = monitor.counter("archived")
        if done != self._progress[0]:
            self._progress = (done, time.monotonic())
        if not self._bounded:
            return False
        stalled = time.monotonic() - self._progress[1] > _STALLED_S + 2 / self._rate
        return done >= self._frames or stalled

    def _start(self) -> None:
        self._started = True
        self._progress = (0.0, time.monotonic())
        root = self._session.config.watch.root
        command = [*module("cli.main"), "simulate", str(root)]
        command += ["--frames", str(self._frames), "--rate", str(self._rate)]
        command += ["--seed", str(self._seed)]
        log = self._session.config.stimulus[0].log
        command += ["--holder-log", str(log)]
        self._session.supervisor.add("microscope", command)
        if self.browser:
            webbrowser.open(self._session.address)


def _farewell(folder: Path, config: Config) -> str:
    """Where everything is, and what can be done with it."""
    run, frames = config.run_path, config.watch.root
    return (
        f"everything is in {folder}; delete it when you are done\n"
        f'look at the run again:  pychip-stream review "{run}"\n'
        f'tables and pictures:    pychip-stream export "{run}" --csv fractions.csv --png maps\n'
        f'which squares are what: pychip-stream grid "{frames}" --png grid.png\n'
        "your own experiment:    pychip-stream init my-experiment"
    )


def _empty_folder(out: Path | None) -> Path:
    if out is None:
        return Path(tempfile.mkdtemp(prefix="pychip-stream-demo-")).resolve()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out}: is not an empty folder; choose a new one for the demo")
    out.mkdir(parents=True, exist_ok=True)
    return out.resolve()  # once: what is relative to here is not relative to the configuration
