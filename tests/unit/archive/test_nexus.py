"""What NeXus viewers see, and how far attributes alone lead."""

import h5py
import numpy as np
import pytest
from nexusformat.nexus import nxload

from pychip_stream.archive import compaction, live
from pychip_stream.archive.nexus import dataset_names
from pychip_stream.archive.run import open_run
from pychip_stream.archive.scorings import add_scoring
from pychip_stream.archive.writer import RunWriter
from tests.support.archive_samples import NAMES, fill, make_run, pieces, record, result, support
from tests.support.at_once import OneThread
from tests.support.failing_disks import QuickDisk

COUNT = 7


@pytest.fixture
def eager(monkeypatch):
    """The live view is made anew with every segment."""
    monkeypatch.setattr(live, "PAUSE_S", 0.0)
    monkeypatch.setattr(live, "SHARE", 1e9)


@pytest.fixture(params=["live", "closed", "scoring"])
def file(request, tmp_path, eager):
    """The file that a viewer opens."""
    path = make_run(tmp_path, COUNT, close=request.param != "live")
    if request.param == "live":
        return tmp_path / "run.live.h5"
    if request.param == "closed":
        return path
    other, run = support(NAMES, 5), open_run(path)
    results = [result(n, version=other.version) for n in range(COUNT)]
    add_scoring(path, other, run.sequence, pieces(results), disk=QuickDisk())
    return tmp_path / "run.scorings" / f"{other.version}.h5"


def follow_defaults(group):
    """The default plot, as the NeXus manual says: by the attribute `default`."""
    while group.attrs.get("NX_class") != "NXdata":
        group = group[group.attrs["default"]]
    return group


def test_h5py_alone_finds_its_way_by_attributes(file):
    with h5py.File(file, "r") as root:
        assert root.attrs["NX_class"] == "NXroot"
        data = follow_defaults(root)
        signal = data[data.attrs["signal"]]
        axes = [data[name] for name in data.attrs["axes"]]
        assert [a.shape[0] for a in axes] == list(signal.shape) == [COUNT]
        assert axes[0].attrs["units"] == "s"
        assert axes[0][:].tolist() == list(range(COUNT))
        shown = [data.attrs["signal"], *data.attrs["auxiliary_signals"]]
        assert shown == ["alpha", "beta", "unknown"]
        for code, name in enumerate(shown):
            value, errors = data[name][:], data[f"{name}_errors"][:]
            intervals = np.array([result(n).intervals[code] for n in range(COUNT)])
            assert np.allclose(value, intervals[:, 0])
            assert np.allclose(errors, (intervals[:, 2] - intervals[:, 1]) / 2)
            assert np.allclose(data[f"{name}_low"][:], intervals[:, 1])
            assert data[name].attrs["units"] == ""
        stacks = [
            group
            for group in root[root.attrs["default"]].values()
            if isinstance(group, h5py.Group)
            and group.attrs.get("NX_class") == "NXdata"
            and group[group.attrs["signal"]].attrs.get("interpretation") == "image"
        ]
        assert len(stacks) == 1
        stack = stacks[0][stacks[0].attrs["signal"]]
        names = [name.decode() for name in stacks[0]["class_names"][:]]
        assert list(stacks[0].attrs["axes"]) == ["time", "row", "column"]
        assert "1 alpha" in stack.attrs["long_name"]
        for n in range(COUNT):
            assert np.array(names)[stack[n]].tolist() == result(n).labels.tolist()


def test_a_nexus_reader_finds_the_default_plot(file):
    tree = nxload(str(file))
    plot = tree.get_default()
    assert plot.nxclass == "NXdata"
    assert plot.nxsignal.nxname == "alpha"
    assert np.allclose(plot.nxsignal.nxvalue, [result(n).intervals[0, 0] for n in range(COUNT)])
    assert [axis.nxname for axis in plot.nxaxes] == ["time"]
    assert plot.nxaxes[0].units == "s"
    assert plot.nxerrors is not None
    assert plot.nxerrors.shape == (COUNT,)
    assert tree.entry.program_name.nxvalue == "pychip-stream"
    maps = tree.entry.label_maps
    if file.name != "run.live.h5":  # it takes virtual stacks for stacks of files
        assert maps.nxsignal.shape == (COUNT, 3, 4)
    assert [axis.nxname for axis in maps.nxaxes] == ["time", "row", "column"]


def test_hyperspy_can_load_everything(file):
    """It asks RosettaSciIO for all datasets, and refuses a file in which one has bytes."""
    nexus = pytest.importorskip("rsciio.nexus")
    signals = nexus.file_reader(str(file))
    assert {signal["data"].dtype.kind for signal in signals} <= set("biufO")
    shapes = {s["metadata"]["General"]["title"]: s["data"].shape for s in signals}
    assert (shapes["fractions"], shapes["label_maps"]) == ((COUNT,), (COUNT, 3, 4))


def test_xarray_shows_named_dimensions(file):
    pytest.importorskip("h5netcdf")
    import xarray

    with xarray.open_dataset(file, group="entry/fractions", engine="h5netcdf") as curve:
        assert dict(curve.sizes) == {"time": COUNT}
        assert curve["alpha"].interp(time=0.5) == pytest.approx(float(curve["alpha"][:2].mean()))
    with xarray.open_dataset(file, group="entry/label_maps", engine="h5netcdf") as maps:
        assert maps["label_map"].dims == ("time", "row", "column")
        assert maps["class_names"].values.tolist() == ["unknown", *NAMES]
    if file.name in ("run.h5", "run.live.h5"):
        with xarray.open_dataset(file, group="entry/frames", engine="h5netcdf") as frames:
            assert dict(frames.sizes) == {"sequence": COUNT}
            assert frames["path"].values.tolist() == [record(n).frame.path for n in range(COUNT)]


def test_the_live_view_follows_segments_that_are_joined(tmp_path, monkeypatch, eager):
    monkeypatch.setattr(compaction, "FAN_IN", 4)
    # In this process the view is read with locks, which HDF5 does not mix with reading without.
    monkeypatch.setattr(compaction, "ThreadPoolExecutor", OneThread)
    writer = RunWriter(tmp_path, "run", segment_frames=2, disk=QuickDisk())
    for first in range(0, 20, 2):
        fill(writer, [record(first), record(first + 1)])
        with h5py.File(tmp_path / "run.live.h5", "r") as root:
            stack = root["entry/label_maps/label_map"]
            assert stack.is_virtual
            stored = np.array(["unknown", *NAMES])
            for n in range(first + 2):
                assert stored[stack[n]].tolist() == result(n).labels.tolist()
    writer.release()


def test_names_that_nexus_does_not_allow():
    names = dataset_names(["α-phase", "β", "time", "a b", "a_b", "x", "x_errors"])
    assert len(set(names)) == 7
    assert all(name.isascii() and name.replace("_", "").isalnum() for name in names)
    assert "time" not in names
    assert "x_errors" not in names
