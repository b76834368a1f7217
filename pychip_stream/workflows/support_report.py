"""Report on a support set: what is in it and how good it seems."""

from datetime import UTC, datetime

from pychip_stream.domain.support import SupportSet
from pychip_stream.model.classifier import Classifier
from pychip_stream.model.quality import assess


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
        "normalization": {
            "mode": support.normalization.mode,
            "low": support.normalization.low,
            "high": support.normalization.high,
            "clahe": support.normalization.clahe,
        },
        "encoder": {"name": embedding.encoder_name, "hash": embedding.encoder_hash}
        if embedding
        else None,
        "classes": [
            {"name": c.name, "color": c.color, "chips": support.counts[c.name]}
            for c in support.classes
        ],
        "sources": _sources(support),
    }
    quality = _quality(support)
    document |= quality
    return document, _text(support, document)


def _quality(support: SupportSet) -> dict[str, object]:
    if support.embedding is None:
        return {"accuracy": None, "advice": ["not embedded yet: quality is unknown"]}
    quality = assess(support, Classifier.fit(support))
    return {"accuracy": quality.accuracy, "advice": list(quality.advice)}


def _sources(support: SupportSet) -> list[dict[str, object]]:
    return [
        {
            "class": chip.label,
            "path": chip.source.path,
            "index": chip.source.index,
            "row": chip.source.row,
            "column": chip.source.column,
            "user": chip.source.user,
            "time": chip.source.time,
        }
        for chip in support.chips
    ]


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
        lines.append(f"accuracy {accuracy:.2f} (cross-validated over the chips)")
    advice = document["advice"]
    if isinstance(advice, list):
        lines += [f"- {line}" for line in advice]
    return "\n".join(lines)
