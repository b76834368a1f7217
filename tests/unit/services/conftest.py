import pytest

from tests.support.archiver_bench import Bench
from tests.support.watcher_table import Table


@pytest.fixture
def table(tmp_path):
    one = Table(tmp_path)
    yield one
    one.close()


@pytest.fixture
def bench(tmp_path, monkeypatch):
    made = Bench(tmp_path, monkeypatch)
    yield made
    made.disk.broken = False
    if made.service is not None:
        made.service.close()
    made.close()
