"""Which cluster is meant by an address, and that what is wrong with it is one line."""

import sys

import pytest
from distributed import Security

from pychip_stream.batch import cluster as clusters
from pychip_stream.batch.cluster import Certificates, Cluster, open_cluster
from pychip_stream.cli.options import matching
from pychip_stream.cli.options import open_cluster as asked
from pychip_stream.errors import ClusterError, UsageError


@pytest.mark.parametrize("address", ["x", "local", "local:0", "local:x", "host:8786"])
def test_what_is_no_address_is_refused(address):
    with pytest.raises(UsageError, match=r"local:N.*tcp://HOST"), open_cluster(address):
        pass


def test_certificates_reach_dask_and_those_that_are_missing_are_named(tmp_path, monkeypatch):
    given = []

    class Client:
        def __init__(self, address, *, timeout, security):
            given.append(security)
            raise OSError("nobody there")

    monkeypatch.setattr(clusters, "Client", Client)
    files = [tmp_path / name for name in ("ca.pem", "cert.pem", "key.pem")]
    for file in files[:2]:
        file.touch()
    address = "tls://127.0.0.1:1"
    with (
        pytest.raises(UsageError, match=r"key\.pem: no such file"),
        open_cluster(address, Certificates(*files)),
    ):
        pass
    files[2].touch()
    with (
        pytest.raises(ClusterError, match=r"tls://127\.0\.0\.1:1: no Dask scheduler.*nobody there"),
        open_cluster(address, Certificates(*files)),
    ):
        pass
    (security,) = given
    assert isinstance(security, Security)
    assert security.require_encryption
    assert (security.tls_ca_file, security.tls_client_cert, security.tls_client_key) == tuple(
        map(str, files)
    )


def test_without_dask_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.delitem(sys.modules, "pychip_stream.batch.cluster", raising=False)
    import pychip_stream.batch

    monkeypatch.delattr(pychip_stream.batch, "cluster", raising=False)
    with pytest.raises(UsageError, match=r"pychip-stream\[batch\]"), asked("local:2", *[None] * 3):
        pass


def test_certificates_without_a_cluster_are_refused(tmp_path):
    with pytest.raises(UsageError, match="belong to --cluster"), asked(None, tmp_path, None, None):
        pass


def test_patterns_are_replaced_by_what_fits(tmp_path):
    for name in ("b.tif", "a.tif", "c.png", "[d].tif"):
        (tmp_path / name).touch()
    found = matching([tmp_path / "?.tif", tmp_path / "[d].tif", tmp_path / "gone.png"])
    assert [path.name for path in found] == ["a.tif", "b.tif", "[d].tif", "gone.png"]
    with pytest.raises(UsageError, match="nothing fits"):
        matching([tmp_path / "*.dm4"])


class Described:
    """A client whose scheduler knows these workers."""

    def __init__(self, *workers):
        self._workers = {str(n): one for n, one in enumerate(workers)}

    def scheduler_info(self):
        return {"workers": self._workers}


def test_where_there_are_gpus_only_workers_with_one_are_asked():
    with_gpu = {"nthreads": 8, "resources": {"GPU": 2}}
    without = {"nthreads": 4, "resources": {}}
    mixed = Cluster(Described(with_gpu, without), 0, 3)
    assert (mixed.resources, mixed.slots) == ({"GPU": 1.0}, 2)
    plain = Cluster(Described(without, without), 0, 3)
    assert (plain.resources, plain.slots) == (None, 8)


def test_work_ends_when_no_worker_is_left(monkeypatch):
    looks = []

    def unfinished(future, timeout):
        looks.append(future)
        raise TimeoutError

    monkeypatch.setattr(clusters, "wait", unfinished)
    with pytest.raises(ClusterError, match="no worker"):
        Cluster(Described(), 0, 3).result(None)
    assert len(looks) > 20  # those that are started again are waited for


def test_work_that_takes_longer_than_a_look_is_waited_for(monkeypatch):
    """Also where it ends just when the look does; and a timeout of the work is the work's own."""
    looks = iter([TimeoutError(), None])

    class Late:
        def result(self):
            return "done"

    def wait(_future, timeout):
        if error := next(looks):
            raise error

    monkeypatch.setattr(clusters, "wait", wait)
    assert Cluster(Described({}), 0, 3).result(Late()) == "done"
