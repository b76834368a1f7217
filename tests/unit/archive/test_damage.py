"""Damaged files of a run: put aside by a telling name; what is whole is kept, the rest redone."""

import errno
import functools
import os
import shutil

import h5py
import numpy as np
import pytest

from pychip_stream.archive import compaction, probe
from pychip_stream.archive.run import open_run
from pychip_stream.archive.support_sets import support_to_bytes
from pychip_stream.archive.writer import RunWriter
from pychip_stream.errors import ArchiveError
from pychip_stream.guard import Guard, Limits
from tests.support.archive_samples import fill, make_run, record, result, support
from tests.support.at_once import OneThread
from tests.support.failing_disks import QuickDisk
from tests.support.run_samples import add_second_scoring

COUNT = 11
SET = support()


def start(folder, **options):
    made = RunWriter(folder, "run", segment_frames=4, disk=QuickDisk(), **options)
    made.add_support(support_to_bytes(SET), SET.version)
    return made


def numbered(n):
    return record(n, result=result(n, version=SET.version))


def segments(folder):
    return sorted((folder / "run.segments").glob("seg-*.h5"))


def flip(path, name, at=20, chunk=0):
    """Damage the bytes of a dataset, as a disk does."""
    with h5py.File(path) as file:
        dataset = file[name]
        if dataset.chunks:
            where = dataset.id.get_chunk_info(chunk).byte_offset
        else:
            where = dataset.id.get_offset()
    data = bytearray(path.read_bytes())
    data[where + at] ^= 0xFF
    path.write_bytes(data)


def zero_end(path, count=4096):
    data = path.read_bytes()
    path.write_bytes(data[:-count] + bytes(count))


def damaged(folder):
    return sorted(p.name for p in folder.rglob("*.damaged*"))


def whole(path, count=COUNT):
    """Every frame is there once, with its labels and embeddings."""
    with open_run(path) as run:
        names = run.frames["path"].tolist()
        assert sorted(names) == [numbered(n).frame.path for n in range(count)]
        for i, name in enumerate(run.fractions["path"]):
            n = int(name[-10:-4])
            assert (run.label_map(i) == result(n).label_map).all()
            assert np.array_equal(run.embeddings(i), numbered(n).embeddings)
        assert run.support_set(SET.version).version == SET.version


def done_again(folder, count=COUNT):
    """A run goes on: what its archive lacks is analysed again, and it can be closed."""
    made = start(folder)
    missing = {numbered(n).frame for n in range(count)} - set(made.keys)
    fill(made, [numbered(n) for n in range(count) if numbered(n).frame in missing])
    whole(made.close(), count)
    return len(missing)


DAMAGE = {
    "embeddings": lambda path: flip(path, "entry/embeddings/encoder_0/values"),
    "label map": lambda path: flip(path, "entry/scorings/acquired/label_map", 8),
    "probabilities": lambda path: flip(path, "entry/scorings/acquired/probabilities", 8),
    "intervals": lambda path: flip(path, "entry/scorings/acquired/intervals", 8),
    "last page": zero_end,
    "sizes": lambda path: flip(path, "entry/frames/size", 0),
    "paths": lambda path: flip(path, "entry/frames/path", 3),
    "status": lambda path: flip(path, "entry/frames/status", 0),
    "places": lambda path: flip(path, "entry/scorings/acquired/sequence", 0),
    "class names": lambda path: flip(path, "entry/scorings/acquired/class_names", 0),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:3000]),
    "empty": lambda path: path.write_bytes(b""),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
}


@pytest.mark.parametrize("harm", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_segment_is_noticed_at_the_start(tmp_path, harm, caplog):
    make_run(tmp_path, COUNT, close=False)
    victim = segments(tmp_path)[-1]
    harm(victim)
    made = start(tmp_path)
    assert 8 <= len(made.keys) < COUNT
    assert damaged(tmp_path) == [f"{victim.name}.damaged"]
    assert f"{victim.name}: " in caplog.text
    assert "analysed again" in caplog.text
    made.release()
    assert 1 <= done_again(tmp_path) <= 3


@pytest.mark.parametrize("harm", ["embeddings", "label map", "sizes", "last page"])
def test_damage_that_the_close_meets_costs_its_frames_only(tmp_path, harm):
    made = start(tmp_path)
    fill(made, [numbered(n) for n in range(COUNT)])
    victim = segments(tmp_path)[1]
    DAMAGE[harm](victim)
    with pytest.raises(ArchiveError, match=r"closed without [1-4] frames.*start the run again"):
        made.close()
    assert damaged(tmp_path) == [f"{victim.name}.damaged"]
    with open_run(tmp_path / "run.h5") as run:
        assert not run.live
        assert 7 <= run.count < COUNT
    assert 1 <= done_again(tmp_path) <= 4


@pytest.mark.parametrize("harm", ["cut", "empty", "zeros", "sizes", "paths"])
def test_an_archive_that_is_lost_is_made_again(tmp_path, harm, caplog):
    make_run(tmp_path, COUNT)
    if harm == "paths":  # texts of the closed archive lie in a heap
        with h5py.File(tmp_path / "run.h5", "r+") as file:
            file["entry/frames/path"][2] = "elsewhere"
    else:
        DAMAGE[harm](tmp_path / "run.h5")
    made = start(tmp_path)
    assert made.keys == []
    assert damaged(tmp_path) == ["run.h5.damaged"]
    assert "run.h5: " in caplog.text
    made.release()
    assert done_again(tmp_path) == COUNT


@pytest.mark.parametrize("harm", ["embeddings", "label map"])
def test_an_archive_with_a_damaged_chunk_is_continued_and_closed(tmp_path, harm, caplog):
    make_run(tmp_path, COUNT)
    before = (tmp_path / "run.h5").read_bytes()
    DAMAGE[harm](tmp_path / "run.h5")
    made = start(tmp_path)
    fill(made, [numbered(COUNT)])
    with pytest.raises(ArchiveError, match="closed without"):
        made.close()
    assert damaged(tmp_path) == ["run.h5.damaged"]
    assert len((tmp_path / "run.h5.damaged").read_bytes()) == len(before)
    assert "kept as run.h5.damaged" in caplog.text
    done_again(tmp_path, COUNT + 1)


def test_a_join_that_meets_damage_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(compaction, "FAN_IN", 4)
    monkeypatch.setattr("pychip_stream.archive.writer.FAN_IN", 4)
    monkeypatch.setattr(compaction, "ThreadPoolExecutor", OneThread)
    monkeypatch.setattr(compaction, "GRACE_S", 0.0)
    made = start(tmp_path)
    fill(made, [numbered(n) for n in range(12)])
    DAMAGE["embeddings"](segments(tmp_path)[1])
    fill(made, [numbered(n) for n in range(12, 16)])
    assert made.reloads == 1
    lost = {numbered(n).frame for n in range(16)} - set(made.keys)
    assert 1 <= len(lost) <= 4
    fill(made, [numbered(n) for n in range(40) if numbered(n).frame not in set(made.keys)])
    whole(made.close(), 40)


@pytest.mark.parametrize("source", ["announced", "folder"])
@pytest.mark.parametrize("when", ["start", "close"])
def test_a_damaged_support_set_comes_from_elsewhere(tmp_path, source, when, caplog):
    runs, folder = tmp_path / "runs", tmp_path / "support"
    make_run(runs, COUNT, close=False)
    path = runs / "run.segments" / f"support-{SET.version}.h5"
    options = {}
    if source == "folder":
        folder.mkdir()
        shutil.copy(path, folder / f"{SET.version}.h5")
        options = {"spare_supports": folder}
    if when == "start":
        path.write_bytes(bytes(path.stat().st_size))
    made = RunWriter(runs, "run", segment_frames=4, disk=QuickDisk(), **options)
    if source == "announced":
        made.add_support(support_to_bytes(SET), SET.version)
    if when == "close":
        path.write_bytes(bytes(path.stat().st_size))
    whole(made.close())
    assert damaged(runs) == [f"{path.name}.damaged"]
    assert path.name in caplog.text


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOMEM, errno.EMFILE])
def test_what_the_system_refuses_is_no_damage(tmp_path, monkeypatch, number):
    make_run(tmp_path, COUNT, close=False)
    made = start(tmp_path)
    real = h5py.Dataset.__getitem__

    def refused(self, args, **more):
        if self.name.endswith("label_map"):
            raise (
                MemoryError()
                if number == errno.ENOMEM
                else OSError(f"Can't read data (file read failed: errno = {number}, error message)")
            )
        return real(self, args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(h5py.Dataset, "__getitem__", refused)
        with pytest.raises(ArchiveError, match=os.strerror(number)):
            made.close()
    assert damaged(tmp_path) == []
    whole(made.close())


class TestGone:
    """Files that somebody removes under a live run."""

    def test_the_folder_of_the_segments(self, tmp_path, caplog):
        made = start(tmp_path)
        fill(made, [numbered(n) for n in range(8)])
        shutil.rmtree(tmp_path / "run.segments")
        made.look()
        assert made.keys == []
        assert made.reloads == 1
        assert "gone" in caplog.text
        fill(made, [numbered(n) for n in range(COUNT)])
        whole(made.close())

    def test_it_is_noticed_by_the_next_frame_too(self, tmp_path):
        made = start(tmp_path)
        fill(made, [numbered(n) for n in range(8)])
        shutil.rmtree(tmp_path / "run.segments")
        assert len(fill(made, [numbered(8)])) == 1
        assert [key.path for key in made.keys] == [numbered(8).frame.path]
        fill(made, [numbered(n) for n in range(COUNT)])
        whole(made.close())

    def test_the_archive_that_is_continued(self, tmp_path):
        make_run(tmp_path, 6)
        made = start(tmp_path)
        fill(made, [numbered(n) for n in range(6, 8)])
        (tmp_path / "run.h5").unlink()
        with pytest.raises(ArchiveError, match="closed without 6 frames"):
            made.close()
        with open_run(tmp_path / "run.h5") as run:
            assert len(run) == 2
        done_again(tmp_path)

    def test_a_segment(self, tmp_path):
        made = start(tmp_path)
        fill(made, [numbered(n) for n in range(8)])
        segments(tmp_path)[0].unlink()
        made.look()
        assert len(made.keys) == 4
        fill(made, [numbered(n) for n in range(COUNT)])
        whole(made.close())

    def test_the_whole_folder_may_come_back(self, tmp_path):
        folder = tmp_path / "runs"
        made = start(folder)
        fill(made, [numbered(n) for n in range(8)])
        folder.rename(tmp_path / "away")
        folder.mkdir()  # an empty mount point
        made.append(numbered(8))
        for _ in range(2):
            with pytest.raises(ArchiveError, match="bring it back"):
                made.publish()
        assert list(folder.iterdir()) == []
        folder.rmdir()
        (tmp_path / "away").rename(folder)
        assert len(made.publish()) == 1
        assert len(made.keys) == 9
        fill(made, [numbered(n) for n in range(9, COUNT)])
        whole(made.close())

    def test_without_handles_nobody_can_look(self, tmp_path, monkeypatch):
        made = start(tmp_path)
        fill(made, [numbered(n) for n in range(8)])

        def refused(_path):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        made.append(numbered(8))
        with monkeypatch.context() as patch:
            patch.setattr(os, "scandir", refused)
            with pytest.raises(ArchiveError, match=os.strerror(errno.EMFILE)):
                made.publish()
        fill(made, [numbered(n) for n in range(9, COUNT)])
        assert made.reloads == 0
        whole(made.close())

    def test_a_system_that_refuses_while_it_looks_anew(self, tmp_path, monkeypatch):
        made = start(tmp_path)
        fill(made, [numbered(n) for n in range(8)])
        segments(tmp_path)[0].unlink()
        real, calls = h5py.File.__init__, iter(range(100))

        def refused(self, *args, **more):
            if next(calls) > 1:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            real(self, *args, **more)

        made.append(numbered(8))
        with monkeypatch.context() as patch:
            patch.setattr(h5py.File, "__init__", refused)
            for _ in range(2):
                with pytest.raises(ArchiveError):
                    made.publish()
        assert len(made.keys) == 8
        assert len(made.publish()) == 1
        assert (len(made.keys), made.reloads) == (5, 1)
        fill(made, [numbered(n) for n in range(COUNT)])
        whole(made.close())


def test_a_scoring_beside_a_run_that_is_damaged_costs_itself(tmp_path):
    path = make_run(tmp_path, COUNT)
    name = add_second_scoring(path, COUNT)
    (scoring,) = (tmp_path / "run.scorings").glob("*.h5")
    flip(scoring, f"entry/scorings/{name}/label_map", 8)
    start(tmp_path).close()
    assert len(damaged(tmp_path)) == 1
    with open_run(path) as run:
        assert (run.scorings, len(run)) == (("acquired",), COUNT)


def stored_size_0(path, name):
    """Let the tree of a dataset's chunks say that the first takes no bytes: HDF5 2.0.0 crashes."""
    with h5py.File(path) as file:
        dataset = file[name]
        chunk = dataset.id.get_chunk_info(0)
        place = bytes(4 + 8 * (dataset.ndim + 1)) + chunk.byte_offset.to_bytes(8, "little")
    data = path.read_bytes()
    assert data.count(chunk.size.to_bytes(4, "little") + place) == 1
    path.write_bytes(data.replace(chunk.size.to_bytes(4, "little") + place, bytes(4) + place))


@pytest.mark.parametrize("close", [True, False])
def test_a_file_over_which_hdf5_crashes_is_put_aside_and_its_frames_done_again(tmp_path, close):
    make_run(tmp_path, COUNT, close=close)
    harmed = tmp_path / "run.h5" if close else segments(tmp_path)[0]
    stored_size_0(harmed, "entry/embeddings/encoder_0/values")
    with Guard((probe.__name__,)) as guard:
        made = start(tmp_path, destroys=functools.partial(probe.destroys, guard=guard))
    assert harmed.with_name(f"{harmed.name}.damaged").exists()
    assert len(made.keys) == (0 if close else COUNT - 4)
    made.release()
    done_again(tmp_path)


def test_a_file_that_takes_long_today_is_not_put_aside(tmp_path, monkeypatch):
    make_run(tmp_path, COUNT)
    monkeypatch.setattr(probe, "_LIMITS", Limits(0.0, 1 << 30))
    monkeypatch.setattr(probe, "_SLOWEST", 1 << 40)
    with Guard((probe.__name__,)) as guard, pytest.raises(ArchiveError, match="took more than"):
        start(tmp_path, destroys=functools.partial(probe.destroys, guard=guard))
    whole(start(tmp_path).close())
