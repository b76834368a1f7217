"""A cluster that is threads of this process."""

import pytest
from distributed import Client, LocalCluster

from pychip_stream.batch.cluster import Cluster


@pytest.fixture(scope="session")
def threads():
    """Workers that are threads of this process."""
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=2, processes=False, dashboard_address=None,
            scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
            worker_dashboard_address=None,
        ) as scheduler,
        Client(scheduler) as client,
    ):  # fmt: skip
        yield Cluster(client, 2, 3)
