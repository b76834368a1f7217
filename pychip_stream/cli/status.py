"""`status`: how a run is, from any terminal that can reach its hub."""

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pychip_stream.cli.options import Json
from pychip_stream.cli.output import console, printed, report, run_holds
from pychip_stream.errors import PychipError
from pychip_stream.operation.health import SILENT_S
from pychip_stream.operation.monitor import Monitor
from pychip_stream.operation.running import running_config

_LISTEN_S = 2.5
_NO_ANSWER_S = 8.0
_HIDDEN = ("busy_s", "cpu_s", "handles")
_COLOURS = {"running": "green"} | dict.fromkeys(
    ("waiting", "starting", "stopping", "stopped"), "yellow"
)


def status(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="configuration of the run")],
    watch: Annotated[bool, typer.Option("--watch", help="keep showing it until Ctrl-C")] = False,
    as_json: Json = False,
) -> None:
    """Show how the services of a run are, and where frames spend their time."""
    running = running_config(config)
    monitor = Monitor(running, start_s=SILENT_S)
    try:
        _hear(monitor)
        if not monitor.statuses:
            raise PychipError(
                f"{config}: nothing answers; is the run started, and is this machine's key allowed?"
            )
        if watch and not as_json:
            _watch(monitor)
        lost = run_holds(running, int(monitor.counter("archived"))).get("error", "")
        document = monitor.document()
        document["troubles"] += [lost] if lost else []
        if as_json:
            report(document, as_json=True, text="")
        elif not watch:
            printed.print(_view(monitor))
            if lost:
                printed.print(Text(lost, "red"))
    finally:
        monitor.close()


def _hear(monitor: Monitor) -> None:
    """Listen until every service has had its turn, or it is clear that one or all are silent."""
    start, listen_s = time.monotonic(), 0.0
    while time.monotonic() - start < listen_s or not monitor.statuses:
        monitor.listen(0.2)
        if time.monotonic() - start > _NO_ANSWER_S:
            return
        listen_s = _LISTEN_S if monitor.complete else SILENT_S + 0.2


def _watch(monitor: Monitor) -> None:
    try:
        with Live(console=console, refresh_per_second=4) as live:
            while True:
                monitor.listen(0.25)
                live.update(_view(monitor))
    except KeyboardInterrupt:
        return


def _view(monitor: Monitor) -> Group:
    services = Table("service", "state", "what", "numbers", box=None, pad_edge=False)
    for instance in monitor.instances:
        state = monitor.state(instance)
        numbers = "  ".join(
            f"{name} {value:g}"
            for name, value in monitor.counters(instance).items()
            if value and name not in _HIDDEN and not name.startswith("latency.")
        )
        services.add_row(
            Text(instance), Text(state, _COLOURS.get(state, "red")),
            Text(monitor.detail(instance)), Text(numbers),
        )  # fmt: skip
    parts: list[Table | Text] = [services]
    latency = monitor.latency()
    if latency:
        table = Table("seconds until", *latency, box=None, pad_edge=False)
        for which in ("p50", "p95", "p99"):
            table.add_row(which, *(f"{values.get(which, 0):.3f}" for values in latency.values()))
        parts += [Text(), table]
    return Group(*parts, Text(), Text(monitor.line()))
