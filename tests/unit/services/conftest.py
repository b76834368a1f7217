import pytest

from tests.support.watcher_table import Table


@pytest.fixture
def table(tmp_path):
    one = Table(tmp_path)
    yield one
    one.close()
