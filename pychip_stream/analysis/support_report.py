"""Report on a support set: what is in it and how good it seems."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from pychip_stream.domain.support import SupportSet
from pychip_stream.model.classifier import Classifier
from pychip_stream.model.encoders import load_encoder
from pychip_stream.model.quality import assess

_OF_SOURCES = ("path", "index", "row", "column", "user", "time")


def finish_support(
    support: SupportSet, encoder_name: str = "bundled"
) -> tuple[SupportSet, Mapping[str, npt.NDArray[np.generic]]]:
    """Embed a support set and fit its classifier.

    Returns
    -------
    The embedded set and the classifier's derived numbers (prototypes, calibration), both to
    be stored.
    """
    classifier = Classifier.fit(support, load_encoder(encoder_name))
    return classifier.support, classifier.derived()


def describe(support: SupportSet) -> tuple[dict[str, object], str]:
    """Describe a support set for machines and for people.

    Returns
    -------
    A JSON-ready document and the same as text.
    """
    embedding = support.embedding
    document: dict[str, object] = {
        "version": support.version,
        "parent": support.parent,
        "author": support.author,
        "note": support.note,
        "created": support.created,
        "chip_size": str(support.chip_size),
        "normalization": asdict(support.normalization),
        "encoder": {"name": embedding.encoder_name, "hash": embedding.encoder_hash}
        if embedding
        else None,
        "classes": [
            {"name": c.name, "color": c.color, "chips": support.counts[c.name]}
            for c in support.classes
        ],
        "sources": [
            {"class": chip.label} | {name: getattr(chip.source, name) for name in _OF_SOURCES}
            for chip in support.chips
        ],
    }
    document |= _quality(support)
    return document, _text(support, document)


def _quality(support: SupportSet) -> dict[str, object]:
    if support.embedding is None:
        advice = ["not embedded yet: quality is unknown"]
        nothing = dict.fromkeys(("accuracy", "judged_over", "confusion"))
        return {**nothing, "quality": [], "advice": advice}
    classifier = Classifier.fit(support)
    quality = assess(support, classifier)
    confusion = quality.confusion
    prototypes = np.bincount(classifier.rule.owners, minlength=len(classifier.names))
    return {
        "accuracy": quality.accuracy,
        "judged_over": quality.basis,
        "confusion": None
        if confusion is None
        else {"class": confusion[0], "taken_for": confusion[1], "share": confusion[2]},
        "method": classifier.method,
        "shrinkage": classifier.shrinkage,
        "prototypes": dict(zip(classifier.names, prototypes.tolist(), strict=True)),
        "quality": [asdict(chip) for chip in quality.chips],
        "advice": list(quality.advice),
    }


def _text(support: SupportSet, document: dict[str, object]) -> str:
    made = datetime.fromtimestamp(support.created, UTC).strftime("%Y-%m-%d %H:%M UTC")
    lines = [
        f"version  {support.version}" + (f" (from {support.parent[:8]})" if support.parent else ""),
        f"made     {made} by {support.author or 'unknown'}"
        + (f": {support.note}" if support.note else ""),
        f"chips    {support.chip_size} pixels",
    ]
    if support.embedding is not None:
        lines.append(f"encoder  {support.embedding.encoder_name}")
    lines += [f"  {name}: {count} chips" for name, count in support.counts.items()]
    accuracy = document["accuracy"]
    if isinstance(accuracy, float):
        lines.append(f"accuracy {accuracy:.2f} (cross-validated over {document['judged_over']})")
    confusion = document["confusion"]
    if isinstance(confusion, dict):
        lines.append(
            f"confusion {confusion['share']:.0%} of {confusion['class']!r} taken for "
            f"{confusion['taken_for']!r}"
        )
    lines += _chip_lines(support, document)
    advice = document["advice"]
    if isinstance(advice, list):
        lines += [f"- {line}" for line in advice]
    return "\n".join(lines)


def _chip_lines(support: SupportSet, document: dict[str, object]) -> list[str]:
    """One line per example: where it is from, how well it fits, what it carries."""
    quality = document["quality"]
    lines = []
    for chip, one in zip(support.chips, quality if isinstance(quality, list) else [], strict=False):
        source = chip.source
        where = "" if source.row is None else f" {source.row},{source.column}"
        fits = "" if one["silhouette"] is None else f", silhouette {one['silhouette']:+.2f}"
        lines.append(
            f"  {chip.label}{where}{fits}, without it {one['affected']} changes by "
            f"{one['influence']:.1%}"
        )
    return lines
