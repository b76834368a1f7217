"""Stimulus settings: which logs and senders tell what is done to the specimen, and how."""

import datetime
from pathlib import Path
from typing import Self
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from pychip_stream.domain.signals import MAX_GAP_S
from pychip_stream.section import Section


class StimulusConfig(Section):
    """One source of readings, and corrections of how its log is understood."""

    name: str = Field(
        "", max_length=100, description="of the source in the run; none: that of the log"
    )
    log: Path | None = Field(
        None, description="log that grows, or a pattern of logs such as logs/*.csv; none: a sender"
    )
    dialect: str = Field("auto", description="see docs/stimulus.md; auto: by its first lines")
    zone: str = Field(
        "", description='of its local times, such as "Europe/Berlin"; none: that of this computer'
    )
    date: str = Field("", description="YYYY-MM-DD of the first reading, where it tells only hours")
    start: str = Field("", description="ISO time of second 0, where it counts seconds")
    time_column: str = Field("", description="header of the column with the times")
    time_format: str = Field(
        "", description='"unix", "excel", "elapsed" or as in strptime, such as "%d.%m.%Y %H:%M:%S"'
    )
    delimiter: str = Field("", max_length=1, description="between columns")
    decimal: str = Field("", pattern="^[.,]?$", description="decimal point or comma")
    columns: dict[str, str] = Field(
        {}, description='header: "NAME [UNIT]" of the columns that count; none: all'
    )
    states: tuple[str, ...] = Field(
        (), description="names of what is on or off, or a set point: never interpolated"
    )
    max_gap_s: float = Field(
        MAX_GAP_S, gt=0, le=86400, description="nothing is interpolated over longer gaps"
    )

    @field_validator("date", "start", mode="before")
    @classmethod
    def _as_text(cls, told: object) -> object:
        """YAML makes a date of what looks like one."""
        return told.isoformat() if isinstance(told, datetime.date) else told

    @field_validator("zone")
    @classmethod
    def _is_zone(cls, text: str) -> str:
        if text:
            try:
                ZoneInfo(text)
            except (KeyError, ValueError, OSError) as error:
                raise ValueError("is no zone; write it as in Europe/Berlin or UTC") from error
        return text

    @model_validator(mode="after")
    def _is_called_something(self) -> Self:
        if self.log is None and not self.name:
            raise ValueError("give the log, or the name of a sender")
        return self

    @property
    def source(self) -> str:
        """Name of the source in the run."""
        stem = self.log.stem.replace("*", "").strip("_-. ") if self.log else ""
        return self.name or stem or "log"
