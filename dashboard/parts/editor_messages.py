"""Editor messages: what the editor tells a browser of a draft, and in which words."""

from collections.abc import Iterable, Mapping
from typing import Any

from pychip_stream.domain.colors import UNKNOWN_COLOR
from pychip_stream.domain.support import UNKNOWN
from pychip_stream.model.quality import FEWEST, MOST

from ..work.drafts import DraftState
from ..work.frame_pictures import Key
from ..work.previews import Hint, Preview
from ..work.words import clock, count
from ..work.workbench import Workbench


def picks_message(
    state: DraftState,
    key: Key,
    echo: int,
    *,
    locked: bool,
    stage: str = "",
    renamed: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Classes, and the chosen chips of one frame.

    Parameters
    ----------
    echo
        Click that this answers.
    stage
        Class that gets the next chips; empty: the same as before.
    renamed
        What classes that are gone are called now.
    """
    return {
        "type": "picks",
        "classes": [{"name": c.name, "color": c.color} for c in state.classes],
        "picks": [[p.row, p.column, p.label] for p in state.picks if (p.path, p.index) == key],
        "echo": echo,
        "locked": locked,
        "stage": stage,
        "renamed": dict(renamed or {}),
    }


def labels_message(state: DraftState, preview: Preview | None) -> dict[str, Any]:
    """Labels of the frame, and a bar for every class: one that came later would move the image.

    Labels of another grid than the draft's are left out; a bar without a fraction has no value.
    """
    trial = preview.trial if preview is not None else None
    if trial is not None and trial.support.chip_size != state.chip_size:
        trial = None
    fractions = trial.result.fractions if trial is not None else {}
    pairs = [*((c.name, c.color) for c in state.classes), (UNKNOWN, UNKNOWN_COLOR)]
    bars: list[dict[str, Any]] = [
        {"name": n, "color": c} | (fractions[n]._asdict() if n in fractions else {})
        for n, c in pairs
    ]
    message: dict[str, Any] = {"type": "labels", "bars": bars, "labels": None, "palette": []}
    if preview is None:
        return message
    message["seq"] = preview.number
    if trial is not None:
        size, labels = trial.support.chip_size, trial.result.label_map
        colors = {c.name: c.color for c in trial.support.classes}
        message |= {
            "labels": labels.tobytes(),
            "grid": list(labels.shape),
            "chip": [size.width, size.height],
            "layers": {name: v.tobytes() for name, v in trial.result.levels.items()},
            "palette": [
                {"name": n, "color": colors.get(n, UNKNOWN_COLOR)}
                for n in (*trial.result.names, UNKNOWN)
            ],
        }
    return message


def shelf_message(
    bench: Workbench,
    number: int,
    state: DraftState,
    odd: dict[int, str],
    *,
    locked: bool,
    known: bool = False,
) -> dict[str, Any]:
    """Everything that the shelf shows of a draft.

    Parameters
    ----------
    known
        Only thumbnails that are at hand, None in place of others; otherwise frames may be read.
    """
    cut = bench.known_thumbnail if known else bench.thumbnail
    classes = []
    for one in state.classes:
        chips = [
            {
                "number": i,
                "id": f"{pick.place}{pick.version}{pick.number}{state.chip_size}",
                "jpeg": cut(pick, state.chip_size, state.parent or ""),
                "where": f"row {pick.row}, column {pick.column} of {pick.path}"
                if pick.row >= 0
                else "imported chip",
                "odd": odd.get(i, ""),
            }
            for i, pick in enumerate(state.picks)
            if pick.label == one.name
        ]
        classes.append(
            {
                "name": one.name,
                "color": one.color,
                "count": len(chips),
                "advice": count_advice(len(chips)),
                "chips": chips,
            }
        )
    return {"type": "shelf", "number": number, "classes": classes, "locked": locked}


def count_advice(chips: int) -> str:
    """Say in a few words whether a class has enough examples."""
    if chips == 0:
        return "choose 2–10"
    if chips < FEWEST:
        return "one more at least"
    if chips > MOST:
        return "more gain little"
    return "good"


def odd_chips(preview: Preview | None) -> dict[int, str]:
    """Why an example looks like another class, by its number in the draft."""
    if preview is None or preview.quality is None:
        return {}
    found = {}
    for number, chip in enumerate(preview.quality.chips):
        if chip.taken_for is not None and chip.taken_for != chip.label:
            found[number] = f"looks like {chip.taken_for}"
    return found


def quality_lines(preview: Preview) -> list[list[str]]:
    """Say what cross-validation thinks of a draft, as (level, text)."""
    quality = preview.quality
    if preview.trouble and preview.trial is not None:
        return [["warning", preview.trouble]]
    if quality is None:
        return [["", preview.trouble or "judging the examples…"]]
    lines = []
    if quality.accuracy is not None:
        level = "good" if quality.accuracy >= 0.9 else "warning"
        judged = f"cross-validated over {quality.basis}"
        lines.append([level, f"accuracy {quality.accuracy:.0%}, {judged}"])
    if quality.confusion is not None:
        own, other, share = quality.confusion
        lines.append(["warning", f"{share:.0%} of {own!r} are taken for {other!r}"])
    return lines + [["", line] for line in quality.advice]


def hint_lines(hints: Iterable[Hint]) -> list[str]:
    """Say where chips of other frames are that are worth choosing next, and why; a line each."""
    return [
        f"frame {one.number + 1}, {clock(one.time)}, row {one.chip.row}, column "
        f"{one.chip.column}: {one.chip.reason}"
        for one in hints
        if one.number is not None and one.time is not None
    ]


def waiting_line(grid: list[int], seconds: float, share: float | None = None) -> str:
    """Say what is being done where labels are not there at once."""
    done = "" if share is None else f"{share:.0%}, "
    return (
        f"labelling the {count(grid[0] * grid[1], 'chip')} of this frame… {done}{seconds:.0f} s; "
        "the first time on a frame takes longest, choose on meanwhile"
    )


def merged_line(before: DraftState, after: DraftState) -> str:
    """Say which examples another chip size has made one, or has dropped; empty: none."""
    less = [
        f"{name} {had} → {after.counts[name]}"
        for name, had in before.counts.items()
        if after.counts[name] < had
    ]
    return f"fewer examples at {after.chip_size} px: {', '.join(less)}; undo (U) goes back" * bool(
        less
    )
