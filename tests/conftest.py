"""What all tests share."""

import logging
import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

# Several processes of several tests share the cores: one that spins waits for none of them.
if "PYTEST_XDIST_WORKER" in os.environ:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")

# No test judges how fast a machine is.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data"


# A shell lets what it starts in the background ignore Ctrl-C, and all that this starts, too.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser):
    parser.addoption("--fuzz", type=int, default=3000, help="mutated files to read")
    parser.addoption("--fuzz-seed", type=int, default=0, help="of the mutations")
    parser.addoption("--renew", action="store_true", help="write the snapshots of contracts anew")


@pytest.fixture(autouse=True)
def as_loud_as_before():
    """Give the program's logger its level back: the worker of a cluster silences it, anywhere."""
    log = logging.getLogger("pychip_stream")
    level = log.level
    yield
    log.setLevel(level)


@pytest.fixture(scope="session", autouse=True)
def timed_once():
    """Time each kind of network once, and not for each of hundreds of encoders."""
    from pychip_stream.model.encoders import device

    real, known = device.seconds, {}

    def seconds(place, network):
        key = str(place), type(network), sum(one.numel() for one in network.parameters())
        if key not in known:
            known[key] = real(place, network)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(device, "seconds", seconds)
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real micrographs and formats, where they are at hand."""
    if not SHARED.is_dir():
        pytest.skip("the real data (../shared/data) are not here")
    return SHARED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures that tests have recorded."""
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, text in getattr(report, "user_properties", ()):
                if name == "figures" and report.when == "call":
                    terminalreporter.section(report.nodeid)
                    terminalreporter.line(text)
