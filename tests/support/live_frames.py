"""What the hub says of a frame, for the state of the dashboard."""

import numpy as np

from pychip_stream.wire.messages import FrameRef, Live

HALF = np.array([[0.5, 0.4, 0.6], [0.5, 0.4, 0.6]])


def live(path="a.tif", time=1.0, version="v1", status="ok", names=("alpha",)):
    return Live(
        frame=FrameRef(path=path, time=time), names=names, colors=("#0072b2",) * len(names),
        support_version=version, chip_size=(8, 8), shape=(16, 16), status=status, reason="torn",
    )  # fmt: skip
