"""Finishing a support set: embedded, with the classifier's numbers beside it."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from pychip_stream.domain.support import SupportSet
from pychip_stream.model.classifier import Classifier
from pychip_stream.model.embedding import embed_support
from pychip_stream.model.encoder import load_encoder


def finish_support(
    support: SupportSet, encoder_name: str = "bundled"
) -> tuple[SupportSet, Mapping[str, npt.NDArray[np.generic]]]:
    """Embed a support set and fit its classifier.

    Returns
    -------
    The embedded set and the classifier's derived numbers (prototypes, calibration), both to
    be stored.
    """
    encoder = load_encoder(encoder_name)
    embedded = embed_support(support, encoder)
    return embedded, Classifier.fit(embedded, encoder).derived()
