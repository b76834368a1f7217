"""Encoders by their hash: the one that made the embeddings of a run."""

from collections.abc import Sequence

from pydantic import ValidationError

from pychip_stream.archive.reader import Run
from pychip_stream.config import EncoderConfig
from pychip_stream.errors import EncoderError
from pychip_stream.model.ports import Encoder
from pychip_stream.workflows.comparability import EncoderFinder


def encoder_finder(run: Run, name: str | None = None) -> EncoderFinder:
    """Return a function that loads the encoder of a hash.

    Parameters
    ----------
    name
        Where to look first; then comes what the run's configuration names, then the bundled.
    """
    candidates = [EncoderConfig(name=name)] if name is not None else []
    candidates += [*_configured(run), EncoderConfig()]
    loaded: list[Encoder] = []

    def find(weights_hash: str) -> Encoder:
        for known in loaded:
            if known.weights_hash == weights_hash:
                return known
        found: list[str] = []
        for candidate in dict.fromkeys(candidates):
            encoder = _load(candidate, found)
            if encoder is not None and encoder.weights_hash == weights_hash:
                loaded.append(encoder)
                return encoder
        raise EncoderError(
            f"{run.path}: its embeddings were made by encoder {weights_hash[:8]}, which is not "
            f"at hand ({'; '.join(found)}); give --encoder NAME or the file of its weights"
        )

    return find


def _load(candidate: EncoderConfig, found: list[str]) -> Encoder | None:
    """Load an encoder, and note what it is."""
    from pychip_stream.workflows.analysis import open_encoder  # torch only where it is needed

    try:
        encoder = open_encoder(candidate)
    except EncoderError as error:
        found.append(str(error))
        return None
    found.append(f"{encoder.name} is {encoder.weights_hash[:8]}")
    return encoder


def _configured(run: Run) -> Sequence[EncoderConfig]:
    section = run.config.get("encoder")
    if not isinstance(section, dict):
        return ()
    try:
        known = {k: v for k, v in section.items() if k in EncoderConfig.model_fields}
        return (EncoderConfig.model_validate(known),)
    except ValidationError:
        return ()
