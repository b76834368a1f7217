"""`simulate`: the practice microscope on the command line."""

import re
import threading
import time
from pathlib import Path
from typing import Annotated

import typer

from pychip_stream import process
from pychip_stream.cli.options import Json
from pychip_stream.cli.output import report, say
from pychip_stream.domain.chips import ChipSize
from pychip_stream.errors import UsageError
from pychip_stream.sim.faults import FAULTS, JOURNAL_NAME, FaultPlan, FaultyStorage, parse_faults
from pychip_stream.sim.furnace import DIALECTS as HOLDERS
from pychip_stream.sim.furnace import HeatingProgram, HolderLog
from pychip_stream.sim.scenes import SCENARIOS
from pychip_stream.sim.specimen import Experiment, Furnace
from pychip_stream.sim.storage import Delivery, MakeStorage, Source, Storage, check_rate
from pychip_stream.sim.truth import NAME as TRUTH
from pychip_stream.sim.truth import TruthLog

_SAY_EVERY_S = 5.0
_FRAMES = 60


def simulate(
    out: Annotated[Path, typer.Argument(help="acquisition folder to write into")],
    scenario: Annotated[
        str, typer.Option(help=f"what happens: {', '.join(SCENARIOS)}")
    ] = "transformation",
    frames: Annotated[
        int | None, typer.Option(help=f"length of the run; default {_FRAMES}, of a replay: all")
    ] = None,
    rate: Annotated[float, typer.Option(help="frames per second")] = 2.0,
    size: Annotated[str, typer.Option(help="of a frame in pixels, N or WxH")] = "512",
    formats: Annotated[
        str, typer.Option("--format", help="dm4, tiff, png, or several that take turns")
    ] = "dm4,tiff",
    seed: Annotated[int, typer.Option(help="of the specimen, the noise and the faults")] = 0,
    stack: Annotated[int, typer.Option(help="frames per file")] = 1,
    name: Annotated[str | None, typer.Option(help="of the series; default: the scenario")] = None,
    chip_size: Annotated[
        str, typer.Option(help="N or WxH; the truth is that of the area its grid covers")
    ] = "32",
    dose: Annotated[float, typer.Option(help="electrons per pixel and frame")] = 100.0,
    truth_maps: Annotated[
        bool, typer.Option("--truth-maps", help="also write the class of every pixel")
    ] = False,
    faults: Annotated[
        str, typer.Option(help=f"what goes wrong: all, or some of {','.join(FAULTS)}")
    ] = "",
    fault_rate: Annotated[float, typer.Option(help="share of the files that suffer one")] = 0.1,
    replay: Annotated[
        Path | None, typer.Option(help="folder of real files to write instead, oldest first")
    ] = None,
    control: Annotated[
        Path | None,
        typer.Option(help='file that sets the temperature while it runs: {"temperature_c": 300}'),
    ] = None,
    holder_log: Annotated[
        Path | None,
        typer.Option(help="log of a holder whose heat drives the change; outside of OUT"),
    ] = None,
    holder: Annotated[str, typer.Option(help=f"which holder's log: {', '.join(HOLDERS)}")] = "csv",
    holder_offset: Annotated[
        float, typer.Option(help="seconds by which the holder's clock is behind")
    ] = 0.0,
    holder_pause: Annotated[
        float | None, typer.Option(help="the log pauses after so many seconds, for 3")
    ] = None,
    holder_restart: Annotated[
        float | None, typer.Option(help="the log begins anew after so many seconds")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write frames at a rate as a microscope does, with the truth beside them."""
    from pychip_stream.sim.microscope import Microscope, Replay

    kinds = parse_faults(faults.split(","))
    if kinds:
        FaultPlan(kinds, fault_rate, seed)
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out}: is no folder; choose another place for the frames")
    recorder = _Recorder(FaultPlan(kinds, fault_rate, seed) if kinds else None)
    document: dict[str, object] = {"out": str(out)}
    if replay is not None:
        played = Replay(replay, out, rate, files=frames, storage=recorder.storage)
        document |= {"replay": str(replay), "expected": len(played)}
        source: Source = played
    else:
        count = _FRAMES if frames is None else frames
        program = log = None
        if holder_log is not None:
            program = HeatingProgram(count / check_rate(rate))
            log = HolderLog(
                holder_log,
                program,
                holder,
                offset_s=holder_offset,
                pause_at_s=holder_pause,
                restart_at_s=holder_restart,
            )
        experiment = Experiment(
            scenario,
            seed,
            count,
            _size(size),
            interval_s=1 / rate if rate > 0 else 1,
            dose=dose,
            furnace=program if control is None else Furnace(control),
        )
        source = microscope = Microscope(
            out,
            experiment,
            rate,
            [word.strip() for word in formats.split(",") if word.strip()],
            name=name,
            stack=stack,
            chip_size=ChipSize.parse(chip_size),
            truth_maps=truth_maps,
            storage=recorder.storage,
            holder=log,
        )
        document |= {"scenario": scenario, "seed": seed, "name": microscope.name}
        document |= {"classes": list(experiment.names), "truth": str(out / TRUTH)}
    say(f"writing into {out}, {rate:g} frames per second; Ctrl-C ends it")
    document |= recorder.run(source)
    if kinds:
        document["journal"] = str(out / JOURNAL_NAME)
    report(document, as_json=as_json, text=_summary(document))


class _Recorder:
    """Runs a source to its end or to Ctrl-C, and counts."""

    def __init__(self, plan: FaultPlan | None) -> None:
        self._plan = plan
        self._storage: Storage | None = None
        self._files = 0
        self._said = time.monotonic()
        self.storage: MakeStorage = self._make_storage

    def run(self, source: Source) -> dict[str, object]:
        """Return {"frames", "files", "seconds", "stopped", "faults"}; replays count files."""
        stop: threading.Event = process.stop_event()
        start = time.monotonic()
        frames = source.run(stop, self._on_file)
        storage = self._storage
        return {
            "frames": frames,
            "files": self._files,
            "seconds": round(time.monotonic() - start, 3),
            "stopped": stop.is_set(),
            "faults": storage.counts if isinstance(storage, FaultyStorage) else {},
        }

    def _make_storage(self, root: Path, truth: TruthLog | None) -> Storage:
        if self._plan is None:
            self._storage = Storage(root, truth)
        else:
            self._storage = FaultyStorage(root, truth, self._plan)
        return self._storage

    def _on_file(self, delivery: Delivery) -> None:
        self._files += 1
        if time.monotonic() - self._said >= _SAY_EVERY_S:
            self._said = time.monotonic()
            say(f"{self._files} files, newest {delivery.path}")


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"\s*(\d{1,6})(?:\s*[xX×]\s*(\d{1,6}))?\s*", text)
    if match is None:
        raise UsageError(f"size {text!r}: write N or WxH in pixels, for example 512 or 640x480")
    return int(match.group(1)), int(match.group(2) or match.group(1))


def _summary(document: dict[str, object]) -> str:
    done = "stopped after" if document["stopped"] else "wrote"
    text = f"{document['out']}: {done} {document['frames']} frames in {document['files']} files"
    faults = document["faults"]
    if isinstance(faults, dict) and faults:
        text += "; faults: " + ", ".join(f"{kind} {n}" for kind, n in faults.items())
    return text
