"""Furnaces of the practice microscope: what heats the specimen, and the log that a holder keeps."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from pychip_stream.errors import UsageError
from pychip_stream.sim.specimen import FROZEN_C, NORMAL_C, Furnace, pace

_STEP_S = 0.2
_PEAK_C = NORMAL_C + 40.0
_REST = (0.45, 0.6)
"""The heater is switched off over this part of the program."""


class HeatingProgram(Furnace):
    """Heats from cold to a peak and back, with the heater switched off in between.

    Parameters
    ----------
    duration_s
        Of the run; by its end everything has happened that the heat makes happen.
    """

    def __init__(self, duration_s: float) -> None:
        super().__init__(Path())
        self.duration_s = max(duration_s, _STEP_S)
        steps = [pace(self.temperature_at(self.duration_s * n / 200)) for n in range(200)]
        self._mean = sum(steps) / len(steps)

    def temperature_at(self, time_s: float) -> float:
        """Temperature in degrees Celsius, so many seconds after the start."""
        share = min(max(time_s / self.duration_s, 0.0), 1.0)
        low = FROZEN_C - 50.0
        if _REST[0] <= share < _REST[1]:
            return low
        rise = min(share / 0.8, 1.0) if share <= 0.9 else (1.0 - share) / 0.1
        return low + (_PEAK_C - low) * rise

    def speed_at(self, time_s: float) -> float:
        """How fast the specimen changes then; 1 on the average of the program."""
        return pace(self.temperature_at(time_s)) / self._mean


class HolderLog:
    """Writes what a holder would, row by row, in the dialect of one.

    Parameters
    ----------
    path
        The log; made anew.
    dialect
        One of `DIALECTS`.
    offset_s
        By which the holder's clock is behind that of the camera.
    pause_at_s, restart_at_s
        When the log pauses for `pause_s` seconds (what has a column of notes notes that), and when
        the holder's program is started again, which begins the log anew; None: never.

    Raises
    ------
    UsageError
        For another dialect.
    """

    def __init__(
        self,
        path: Path,
        program: HeatingProgram,
        dialect: str = "csv",
        *,
        offset_s: float = 0.0,
        pause_at_s: float | None = None,
        pause_s: float = 3.0,
        restart_at_s: float | None = None,
    ) -> None:
        if dialect not in DIALECTS:
            raise UsageError(f"log {dialect!r}: choose {', '.join(DIALECTS)}")
        self.path, self._program, self._offset_s = path, program, offset_s
        self._header, self._row = DIALECTS[dialect]
        self._pause = (pause_at_s, pause_s)
        self._restart_at_s = restart_at_s
        self._done = -1
        self._begun = 0.0

    def write_until(self, started: float, time_s: float) -> None:
        """Write the rows up to some seconds after the start (seconds since 1970) of the run."""
        lines: list[str] = []
        if self._done < 0:
            self._begin(started)
        while self._done * _STEP_S < time_s:
            self._done += 1
            now = self._done * _STEP_S
            if self._restart_at_s is not None and now >= self._restart_at_s:
                self._restart_at_s = None
                self._append(lines)
                self.path.replace(self.path.with_name(f"{self.path.stem}_1{self.path.suffix}"))
                self._begin(started + now)
                lines = []
            at, length = self._pause
            if at is None or not at <= now < at + length:
                moment = started + now - self._offset_s
                temperature = self._program.temperature_at(now)
                paused = at is not None and at + length <= now < at + length + _STEP_S
                note = f"log paused for {length:g} s" if paused else ""
                lines.append(self._row(moment, moment - self._begun, temperature, note))
        self._append(lines)

    def _begin(self, moment: float) -> None:
        self._begun = moment - self._offset_s
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside, header = self._header(self._begun)
        if beside:
            name = f"{self.path.stem.rpartition('_')[0]}_Metadata.log"
            self.path.with_name(name).write_text(beside, encoding="utf-8")
        self.path.write_text(header, encoding="utf-8", newline="")

    def _append(self, lines: list[str]) -> None:
        if lines:
            with self.path.open("a", encoding="utf-8", newline="") as file:
                file.write("".join(lines))


def _local(moment: float, form: str) -> str:
    return datetime.fromtimestamp(moment).strftime(form)


def _csv_header(_begun: float) -> tuple[str, str]:
    return "", "time,temperature (°C),note\r\n"


def _csv_row(moment: float, _since: float, temperature: float, note: str) -> str:
    return f"{_local(moment, '%Y-%m-%dT%H:%M:%S.%f')},{temperature:.3f},{note}\r\n"


def _protochips_header(begun: float) -> tuple[str, str]:
    day, clock = _local(begun, "%Y.%m.%d"), _local(begun, "%H:%M:%S.%f")
    lines = (
        "Time,Notes,Temperature", f"*,Date (yyyy.mm.dd) = {day},",
        f"*,Time (hh:mm:ss.ms) = {clock},", "*,Time units = Milliseconds,",
        "*,Temperature units = Degrees C,", "*,User = simulated,",
    )  # fmt: skip
    return "", "".join(f"{line}\r\n" for line in lines)


def _protochips_row(_moment: float, since: float, temperature: float, note: str) -> str:
    return f"{since * 1000:.0f},{note},{temperature:.3f}\r\n"


def _impulse_header(begun: float) -> tuple[str, str]:
    beside = f"Experiment date,{_local(begun, '%d-%m-%Y')}\nExperiment time,0\n"
    return beside, "TimeStamp,Experiment time,Temperature (°C)\r\n"


def _impulse_row(moment: float, since: float, temperature: float, _note: str) -> str:
    return f"{_local(moment, '%H:%M:%S.%f')[:-3]},{since:.3f},{temperature:.3f}\r\n"


def _digiheater_header(begun: float) -> tuple[str, str]:
    names = ("sample", "time", "Tset[C]", "Temperature[C]")
    day = _local(begun, "%d/%m/'%y %H:%M")
    lines = (f"{day}\tDigiheater 3.1", "R0=1\ta=1\tb=1\tc=1", "delta_t=0.2", "\t".join(names))
    return "", "".join(f"{line}\r\n" for line in lines)


def _digiheater_row(moment: float, since: float, temperature: float, _note: str) -> str:
    clock = _local(moment, "%H:%M:%S.%f")[:-3]
    return f"{since / _STEP_S:.0f}\t{clock}\t{temperature:.0f}\t{temperature:.3f}\r\n"


DIALECTS: dict[
    str, tuple[Callable[[float], tuple[str, str]], Callable[[float, float, float, str], str]]
] = {
    "csv": (_csv_header, _csv_row),
    "protochips": (_protochips_header, _protochips_row),
    "impulse": (_impulse_header, _impulse_row),
    "digiheater": (_digiheater_header, _digiheater_row),
}
"""Header (and a file beside the log) and row of each."""
