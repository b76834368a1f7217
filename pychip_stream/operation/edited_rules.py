"""Edited rules: alert rules made on the page, in a file beside the run; the configuration stays."""

import json
import logging
import threading
import time
from collections.abc import Mapping
from typing import Any

import msgspec
from pydantic import ValidationError

from pychip_stream.alert_actions import ACTIONS
from pychip_stream.alert_rules import AlertConfig, AlertRule
from pychip_stream.archive.disk import Disk
from pychip_stream.config import Config
from pychip_stream.errors import PychipError
from pychip_stream.plain_files import read_small
from pychip_stream.section import problems

logger = logging.getLogger(__name__)

MOST = 100
_MOST_BYTES = 1 << 20


class EditedRule(msgspec.Struct, frozen=True):
    """A rule as it is written in the file, who edited it and when (seconds since 1970)."""

    rule: dict[str, Any]
    who: str
    when: float


class EditedRules:
    """The rules in force: those of the configuration, and those edited since, by their names.

    An edited rule goes before the configuration's of the same name. It may only set off what the
    configuration allows; whoever reads the file checks that again. Thread-safe.

    Attributes
    ----------
    known
        What was in force at the last look; asks no disk.
    path
        Of the file.
    """

    def __init__(self, config: Config) -> None:
        self._config = config.alerts
        self._lock = threading.Lock()
        self._stamp: tuple[int, int] | None = None
        self._edited: dict[str, EditedRule] = {}
        self.known = config.alerts
        self.path = config.archive.folder / f"{config.archive.name}.alerts.json"

    def current(self) -> AlertConfig:
        """Return what is in force now; the same object while nothing has changed."""
        with self._lock:
            self._follow()
            return self.known

    def edited(self) -> Mapping[str, EditedRule]:
        """Return what was edited on the page, by name."""
        with self._lock:
            self._follow()
            return self._edited

    def put(self, fields: Mapping[str, Any], who: str) -> AlertRule:
        """Add a rule, or replace the one of its name.

        Raises
        ------
        PychipError
            If it makes no sense, sets off what the configuration does not allow, or cannot be kept.
        """
        with self._lock:
            self._follow()
            rule = self._checked(dict(fields))
            tree = rule.model_dump(mode="json", by_alias=True, exclude_defaults=True)
            edited = self._edited | {rule.name: EditedRule(tree, who, time.time())}
            if len(edited) > MOST:
                raise PychipError(f"{MOST} rules are the most; remove one first")
            self._save(edited)
            return rule

    def remove(self, name: str) -> None:
        """Take an edited rule away; where the configuration has one of the name, that counts again.

        Raises
        ------
        PychipError
            If it was not made on the page, or the file cannot be written.
        """
        with self._lock:
            self._follow()
            if name not in self._edited:
                raise PychipError(f"{name} stands in the configuration; it is removed there")
            self._save({n: one for n, one in self._edited.items() if n != name})

    def _checked(self, fields: dict[str, Any]) -> AlertRule:
        try:
            tree = self._config.model_dump(exclude={"rules"}) | {"rules": [fields]}
            return AlertConfig.model_validate(tree).rules[0]
        except ValidationError as error:
            lines = [line.replace("rules.0.", "").lstrip(": ") for line in problems(error)]
            raise PychipError("; ".join(lines)) from error

    def _save(self, edited: dict[str, EditedRule]) -> None:
        try:
            Disk().save(self.path, json.dumps(msgspec.to_builtins([*edited.values()])).encode())
        except OSError as error:
            raise PychipError(f"{self.path}: {error.strerror or error}") from error
        self._follow()

    def _follow(self) -> None:
        """Read the file where it has changed; a file that cannot be used changes nothing."""
        try:
            stat = self.path.stat()
        except OSError:
            stat = None
        stamp = None if stat is None else (stat.st_mtime_ns, stat.st_size)
        if stamp == self._stamp:
            return
        self._stamp, found, rules = stamp, {}, {rule.name: rule for rule in self._config.rules}
        for one in self._read() if stat is not None else ():
            try:
                rule = self._checked(one.rule)
            except PychipError as error:
                logger.warning("%s: a rule is left out: %s", self.path, error)
                continue
            found[rule.name], rules[rule.name] = one, rule
        self._edited = found
        self.known = self._config.model_copy(update={"rules": tuple(rules.values())})

    def _read(self) -> list[EditedRule]:
        try:
            data = read_small(self.path, _MOST_BYTES)
            return msgspec.json.decode(data, type=list[EditedRule])[:MOST]
        except (OSError, RecursionError, msgspec.DecodeError) as error:
            logger.warning("%s: the rules made on the page are not read: %s", self.path, error)
            return []


def reactions(config: AlertConfig) -> dict[str, dict[str, Any]]:
    """Say in words what rules of the page may set off besides telling: the fields that ask for it.

    Commands with the arguments that the configuration gives them, addresses that its rules call,
    and actions of other packages that need no settings.
    """
    commands = dict.fromkeys((*(r.command for r in config.rules if r.command),
                              *((program,) for program in config.commands)))  # fmt: skip
    found: dict[str, dict[str, Any]] = {f"run {' '.join(c)}": {"command": c} for c in commands}
    found |= {f"call {r.webhook}": {"webhook": r.webhook} for r in config.rules if r.webhook}
    for action in ACTIONS:
        if action.field or action.immediate:
            continue
        try:
            action.settings.model_validate({})
        except ValidationError:
            continue
        found[action.name] = {"actions": ("banner", "log", action.name)}
    return found
