"""Threads: how those of the matrix libraries wait for each other.

Torch and NumPy bring threads of their own. Left alone, either kind spins for a while when its
work is done, on the processors that the other kind, or another service, needs: scoring a frame
in half a millisecond then made the network's next frame take three times as long. The variables
are read when the libraries are loaded.
"""

from collections.abc import MutableMapping

SETTINGS = {
    "OPENBLAS_NUM_THREADS": "1",  # NumPy's products are small here
    "GOMP_SPINCOUNT": "3000",  # torch on Linux: some microseconds, then sleep
    "KMP_BLOCKTIME": "1",  # torch elsewhere, in milliseconds
}


def settle(environment: MutableMapping[str, str]) -> None:
    """Set what the user has not set."""
    for name, value in SETTINGS.items():
        environment.setdefault(name, value)
