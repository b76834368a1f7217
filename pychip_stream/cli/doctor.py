"""`doctor`: what is wrong with this installation or configuration, and how to mend it."""

from pathlib import Path
from typing import Annotated

import typer

from pychip_stream.cli.options import Json
from pychip_stream.cli.output import report
from pychip_stream.errors import PychipError, UsageError
from pychip_stream.operation.doctor import Finding, check


def doctor(
    config: Annotated[
        Path | None, typer.Argument(metavar="[CONFIG]", help="check this experiment too")
    ] = None,
    rate: Annotated[
        float, typer.Option(min=0.0001, help="frames per second that are planned")
    ] = 1.0,
    as_json: Json = False,
) -> None:
    """Say what is wrong with this installation or config, and how to mend it."""
    findings = check(config, rate)
    bad = [f for f in findings if f.level == "bad"]
    report(
        {
            "ok": not bad,
            "findings": [
                {"check": f.check, "level": f.level, "what": f.what, "do": f.do} for f in findings
            ],
        },
        as_json=as_json,
        text="\n".join(map(_line, findings)),
    )
    if bad:
        # A configuration that is refused is wrong usage here as everywhere.
        kind = UsageError if any(f.check == "config" for f in bad) else PychipError
        raise kind(f"{len(bad)} of {len(findings)} checks failed: {bad[0].check}")


def _line(finding: Finding) -> str:
    mark = {"good": "ok  ", "hint": "note", "bad": "BAD "}[finding.level]
    text = f"{mark} {finding.check}: {finding.what}"
    return f"{text}\n     -> {finding.do}" if finding.do else text
