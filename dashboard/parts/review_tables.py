"""Review tables: what a run says about itself, as plain texts for the page."""

from typing import Any, NamedTuple

import numpy as np
import yaml

from pychip_stream.archive.run import Run
from pychip_stream.domain.frames import TEXTS
from pychip_stream.domain.support import SupportSet
from pychip_stream.errors import PychipError

from ..work.frame_pictures import FramePicture
from ..work.opened_run import OpenedRun
from ..work.runs import RunCard
from ..work.words import count, duration, moment, percent, size
from .components import table


class Difference(NamedTuple):
    """Mean fraction of a class under two scorings, and how far they are apart on common frames."""

    first: float
    second: float
    mean: float
    largest: float


def differences(first: OpenedRun, second: OpenedRun) -> tuple[dict[str, Difference], int]:
    """Every class of either (NaN where it is lacking), and the number of common frames."""
    columns = ["frame", "path", "index"]
    a_side, b_side = (one.table.loc[~one.table["excluded"], columns] for one in (first, second))
    both = a_side.merge(b_side, on=columns[1:])
    found = {}
    for name in dict.fromkeys([*first.names, *second.names]):
        a, b = _column(first, name), _column(second, name)
        apart = np.abs(a[both["frame_x"].to_numpy()] - b[both["frame_y"].to_numpy()])
        known = apart[np.isfinite(apart)]
        largest = float(known.max()) if len(known) else float("nan")
        found[name] = Difference(_mean(a), _mean(b), _mean(known), largest)
    return found, len(both)


def same_frame(picture: FramePicture, other: OpenedRun) -> int | None:
    """Return the number of a frame in another run; None where it has none of this name."""
    return other.keys.index(picture.key) if picture.key in other.keys else None


def agreement(first: FramePicture, second: FramePicture) -> float | None:
    """Share of chips with the same name; None on different grids."""
    if first.label_map is None or second.label_map is None:
        return None
    if first.label_map.shape != second.label_map.shape:
        return None
    a = np.asarray(first.names)[first.label_map]
    b = np.asarray(second.names)[second.label_map]
    return float((a == b).mean())


def _column(opened: OpenedRun, name: str) -> "np.typing.NDArray[np.float64]":
    if name not in opened.names:
        return np.full(opened.count, np.nan)
    values = opened.intervals[:, opened.names.index(name), 0]
    return np.where(opened.table["excluded"], np.nan, values)


def _mean(values: "np.typing.NDArray[np.float64]") -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


Table = dict[str, Any]

_MOST_ROWS = 500


def card_message(card: RunCard) -> dict[str, Any]:
    """Turn a card into what the run list wants."""
    facts = []
    if not card.trouble:
        facts = [moment(card.start), f"{count(card.frames, 'frame')}{_failed(card.failed)}"]
        if card.frames > 1:
            facts.append(f"{duration(card.duration_s)} long")
    facts.append(size(card.size))
    state = "unreadable" if card.trouble else "live" if card.live else "closed"
    return {
        "name": card.name,
        "stamp": f"{card.stamp} {state}",
        "state": state,
        "facts": facts,
        "classes": [list(c) for c in card.classes],
        "preview": card.preview,
        "trouble": card.trouble,
        "opens": not card.trouble and card.frames + card.failed > 0,
    }


def failed_table(run: Run) -> Table:
    """Frames that could not be analysed, with their reasons."""
    failed = run.failed
    rows = [
        [str(row["path"]), str(int(row["index"])), str(row["reason"])]
        for row in failed.head(_MOST_ROWS).to_dict("records")
    ]
    note = f"the first {_MOST_ROWS} of {len(failed)}" if len(failed) > _MOST_ROWS else ""
    return table(
        "Failed frames", rows, ["file", "index", "reason"],
        right=[1], note=note, empty="every frame could be analysed", wide=True,
    )  # fmt: skip


def provenance_tables(run: Run) -> list[Table]:
    """Where the numbers come from: run, programs, encoder, support sets, configuration."""
    frames = run.frames
    hashes = [str(h) for h in dict.fromkeys(frames["encoder_hash"].tolist()) if h]
    facts: list[list[object]] = [
        ["run", {"text": run.run_id, "mono": True}],
        ["archive", {"text": str(run.path), "mono": True}],
        ["frames from", {"text": str(run.root or "not recorded"), "mono": True}],
        ["begun", moment(run.start)],
        ["frames", f"{run.count} classified, {len(run) - run.count} failed"],
        ["state", "live, or not merged yet" if run.live else "closed"],
        ["scoring shown", run.scoring],
        ["scorings", ", ".join(run.scorings)],
        ["encoder's weights", {"text": "\n".join(hashes) or "not recorded", "mono": True}],
    ]
    said = {name: [str(t) for t in dict.fromkeys(frames[name].tolist()) if t] for name in TEXTS}
    facts += [[name.replace("_", " "), ", ".join(texts)] for name, texts in said.items() if texts]
    sessions = [
        [str(s.number), moment(s.started), s.metadata.get("pychip_stream", ""),
         s.metadata.get("versions", "")]
        for s in run.sessions
    ]  # fmt: skip
    head = ["no.", "when", "pychip-stream", "versions"]
    tables = [
        table("Run", facts),
        table("Starts of the archiver", sessions, head),
        _support_table(run),
        _excluded_table(run),
        _displaced_table(run),
    ]
    if config := run.metadata.get("config"):
        tables.append({"title": "Configuration", "lines": _tidy(config)})
    return tables


def _excluded_table(run: Run) -> Table:
    """Frames that are left out, by whom and when."""
    rows = [
        [str(row["path"]), str(row["index"]), str(row["who"]), moment(row["when"])]
        for row in run.exclusions.head(_MOST_ROWS).to_dict("records")
    ]
    head = ["file", "index", "by", "when"]
    return table("Left out", rows, head, right=[1], empty="no frame", wide=True)


def _displaced_table(run: Run) -> Table:
    """Frames whose own time is not of this run."""
    rows = [
        [str(row["path"]), str(row["index"]), moment(row["own_time"]), moment(row["time"])]
        for row in run.displaced.head(_MOST_ROWS).to_dict("records")
    ]
    head = ["file", "index", "its own time", "stands at"]
    return table("Times that are not of this run", rows, head, right=[1], empty="none", wide=True)


def _support_table(run: Run) -> Table:
    rows = []
    for version in run.support_versions:
        try:
            rows.append(_support_row(version, run.support_set(version)))
        except PychipError as error:
            rows.append([{"text": version, "mono": True}, str(error), "", "", ""])
    head = ["version", "classes", "chip size", "author", "note"]
    return table("Support sets", rows, head, empty="the run holds none", wide=True)


def _support_row(version: str, support: SupportSet) -> list[Any]:
    classes = ", ".join(f"{n} ({c})" for n, c in support.counts.items())
    author = " ".join(filter(None, [support.author, moment(support.created)]))
    note = support.note or ""
    if support.parent:
        note = f"{note} from {support.parent[:8]}".strip()
    return [{"text": version, "mono": True}, classes, str(support.chip_size), author, note]


def difference_table(first: OpenedRun, second: OpenedRun) -> Table:
    """Fractions of every class under two scorings."""
    found, common = differences(first, second)
    shared = f"{count(common, 'frame')} that both have"
    apart = f"differences over the {shared}" if common else "no frame is in both, so no differences"
    note = f"A: {first.label}; B: {second.label}; {apart}"
    rows = [[name, *map(percent, difference)] for name, difference in found.items()]
    head = ["class", "mean A", "mean B", "mean |A - B|", "largest"]
    return table("Fractions", rows, head, right=[1, 2, 3, 4], note=note, wide=True)


def _failed(number: int) -> str:
    return f", {number} failed" if number else ""


def _tidy(config: str) -> list[str]:
    """Lines of a configuration, without the keys that are empty."""
    try:
        tree = yaml.safe_load(config)
    except yaml.YAMLError:
        return config.splitlines()
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True).splitlines()
