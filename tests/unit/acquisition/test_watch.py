"""The watch on real folders: whatever happens to events, no frame escapes."""

import os
import shutil
import time

import pytest

from pychip_stream.acquisition import series as insitu_names
from pychip_stream.acquisition.settling import Settler
from pychip_stream.acquisition.tree import Rounds, Tree
from pychip_stream.sim.faults import FaultPlan, FaultyStorage
from pychip_stream.sim.microscope import Microscope
from pychip_stream.sim.specimen import Experiment
from tests.support.material import FRAME, TINY, put
from tests.support.waiting import wait_for


def insitu(second, frame, name="run"):
    parts = ["Hour_00", "Minute_00", f"Second_{second:02}"]
    return "/".join([name, *parts, f"{name}_{'_'.join(parts)}_Frame_{frame:04}.dm4"])


def test_what_is_there_already_and_what_comes_is_sighted_once(root, watch):
    put(root / "old.dm4")
    seen = watch()
    seen.wait_paths(["old.dm4"])
    put(root / "one/two/new.TIF", FRAME)
    seen.wait_paths(["one/two/new.TIF"])
    seen.wait_passes(3)
    assert sorted(s.frame.path for s in seen.all) == ["old.dm4", "one/two/new.TIF"]
    sighting = seen.of("old.dm4")[0]
    stat = (root / "old.dm4").stat()
    assert (sighting.frame.size, sighting.frame.mtime_ns) == (stat.st_size, stat.st_mtime_ns)
    assert sighting.frame.time == pytest.approx(stat.st_mtime)
    assert (sighting.frames, sighting.problem) == (1, None)


@pytest.mark.slow
def test_twenty_thousand_files_at_once(root, watch):
    seen = watch()
    seen.wait(lambda: seen.watch.health().passes >= 1)
    for folder in range(4):
        (root / f"{folder}").mkdir()
    names = [f"{root}/{number % 4}/{number:05}.png" for number in range(20_000)]
    for name in names:
        with open(name, "wb", buffering=0) as file:  # noqa: PTH123  (as fast as possible)
            file.write(TINY)
    seen.wait(lambda: len(seen.all) >= 20_000, "20,000 sightings", 240)
    seen.wait_passes(2)
    assert len(seen.all) == len(seen.paths) == 20_000
    assert not [s for s in seen.all if s.problem]


def test_the_queue_of_events_that_overflows_is_made_good(root, watch, monkeypatch):
    monkeypatch.setattr("pychip_stream.acquisition.events._MOST_HINTS", 5)
    # Without the scan of the newest folders and far from the next whole look.
    monkeypatch.setattr(Tree, "look_at_frontier", lambda _tree: None)
    seen = watch(reconcile_s=3600.0)
    seen.wait(lambda: seen.watch.health().passes >= 1 and seen.watch.health().observer_alive)
    for number in range(200):
        put(root / f"{number}.dm4")
    seen.wait(lambda: len(seen.paths) == 200, "what the hints do not tell")


def test_nested_folders_that_are_full_when_they_appear(root, watch, tmp_path):
    for number in range(40):
        put(tmp_path / f"elsewhere/one/{number % 4}/deep/{number}.dm4")
    seen = watch()
    seen.wait(lambda: seen.watch.health().passes >= 1)
    (tmp_path / "elsewhere").rename(root / "moved")
    # Copied times would change files that were taken already: a revision of their own.
    shutil.copytree(root / "moved", root / "copied", copy_function=shutil.copyfile)
    seen.wait(lambda: len(seen.paths) == 80)
    seen.wait_passes(2)
    assert len(seen.all) == 80


def test_renamed_into_place_and_copied_in(root, watch, tmp_path):
    seen = watch()
    put(root / "a.dm4.tmp").rename(root / "a.dm4")
    put(tmp_path / "b.dm4").rename(root / "b.dm4")
    shutil.copy2(root / "a.dm4", root / "c.DM4")
    os.link(root / "a.dm4", root / "d.dm4")
    seen.wait_paths(["a.dm4", "b.dm4", "c.DM4", "d.dm4"])
    (root / "a.dm4").rename(root / "e.dm4")
    seen.wait_paths(["e.dm4"])
    seen.wait(lambda: "a.dm4" in seen.gone)


def test_a_file_written_slowly_is_sighted_when_it_is_closed(root, watch, told_of_writers):
    seen = watch(quiet_s=0.1)
    pieces = [FRAME[i : i + 100] for i in range(0, len(FRAME), 100)]
    with (root / "a.dm4").open("wb", buffering=0) as file:
        for piece in pieces:
            file.write(piece)
            seen.poll(0.05)
        seen.wait(lambda: seen.watch.health().incomplete_count == 1)
        seen.poll(0.5)  # whole and quiet, and still open
        assert not seen.all
    seen.wait_paths(["a.dm4"])
    assert [s.problem for s in seen.all] == [None]


def test_the_closing_is_enough_to_hand_a_file_on_at_once(root, watch, monkeypatch, told_of_writers):
    # Nothing but the hint of the closing can bring it: no second look, no scan, no quiet time.
    monkeypatch.setattr("pychip_stream.acquisition.settling._LONGEST_PAUSE_S", 3600.0)
    seen = watch(scan_s=60.0, reconcile_s=3600.0, quiet_s=3600.0, incomplete_s=7200.0)
    seen.watch._settler._pause_s = 3600.0
    seen.wait(lambda: seen.watch.health().observer_alive)
    with (root / "a.dm4").open("wb", buffering=0) as file:
        file.write(FRAME)
        seen.wait(lambda: seen.watch.health().incomplete_count == 1)
    seen.wait_paths(["a.dm4"])


def test_a_preallocated_file_is_sighted_when_it_is_filled(root, watch):
    seen = watch(quiet_s=0.4)
    with (root / "a.dm4").open("wb", buffering=0) as file:
        file.write(FRAME[: len(FRAME) // 2])
        file.truncate(len(FRAME))
        seen.poll(1.0)
        assert not seen.all
        file.seek(len(FRAME) // 2)
        file.write(FRAME[len(FRAME) // 2 :])
    seen.wait_paths(["a.dm4"])
    assert [s.problem for s in seen.all] == [None]


def test_a_rewritten_file_is_a_new_revision(root, watch):
    seen = watch()
    put(root / "a.dm4")
    seen.wait_paths(["a.dm4"])
    with (root / "a.dm4").open("r+b") as file:  # the header patched after the first close
        file.write(FRAME[:20])
    seen.wait(lambda: len(seen.of("a.dm4")) == 2)
    assert seen.of("a.dm4")[0].frame.mtime_ns < seen.of("a.dm4")[1].frame.mtime_ns
    seen.wait_passes(2)
    assert len(seen.all) == 2


def test_a_cut_file_is_reported_and_taken_when_it_completes_after_all(root, watch):
    seen = watch(incomplete_s=0.5)
    put(root / "a.dm4", FRAME[:-60])
    seen.wait_paths(["a.dm4"])
    assert "was cut off" in seen.all[0].problem
    put(root / "a.dm4")
    seen.wait(lambda: len(seen.all) == 2)
    assert seen.all[1].problem is None


def test_a_file_deleted_before_anybody_asked_is_said_to_be_gone(root, watch):
    seen = watch()
    put(root / "a.dm4")
    wait_for(lambda: seen.watch._outbox._sightings, "sighted")
    (root / "a.dm4").unlink()
    wait_for(lambda: seen.watch._outbox._vanished, "vanished")
    # Whoever asks only for what is gone does not hear of it before its sighting.
    assert seen.watch.vanished() == []
    assert [s.frame.path for s in seen.watch.poll(0)] == ["a.dm4"]
    assert seen.watch.vanished() == ["a.dm4"]
    assert seen.watch.vanished() == []
    put(root / "a.dm4")
    seen.wait_paths(["a.dm4"])
    assert seen.gone == []


@pytest.mark.parametrize("mode", ["auto", "poll"])
def test_the_root_goes_and_comes_back(root, watch, tmp_path, mode):
    for number in range(5):
        put(root / f"one/{number}.dm4")
    seen = watch(mode=mode)
    seen.wait(lambda: len(seen.paths) == 5)
    root.rename(tmp_path / "away")
    seen.wait(lambda: not seen.watch.health().root_reachable)
    assert "cannot be reached" in seen.watch.health().detail
    put(tmp_path / "away/one/while-away.dm4")
    (tmp_path / "away").rename(root)
    seen.wait_paths(["one/while-away.dm4"])
    seen.wait(lambda: seen.watch.health().root_reachable)
    put(root / "two/after.dm4")
    seen.wait_paths(["two/after.dm4"])
    seen.wait_passes(2)
    assert len(seen.all) == 7
    assert seen.gone == []


def test_the_root_is_another_folder_when_it_comes_back(root, watch, tmp_path):
    put(root / "a.dm4")
    seen = watch(scan_s=0.1)
    seen.wait_paths(["a.dm4"])
    shutil.rmtree(root)
    seen.wait(lambda: not seen.watch.health().root_reachable)
    put(root / "b.dm4")
    seen.wait_paths(["b.dm4"])
    seen.wait(lambda: "a.dm4" in seen.gone)
    seen.wait(lambda: seen.watch.health().observer_alive)


def test_an_empty_mount_point_in_place_of_the_share(root, watch, tmp_path):
    put(root / "a.dm4")
    seen = watch()
    seen.wait_paths(["a.dm4"])
    root.rename(tmp_path / "share")
    root.mkdir()
    seen.wait(lambda: "a.dm4" in seen.gone)
    root.rmdir()
    (tmp_path / "share").rename(root)
    seen.wait(lambda: len(seen.of("a.dm4")) == 2)
    assert seen.all[0] == seen.all[1] or seen.all[0].mtime_ns == seen.all[1].mtime_ns


def test_a_root_that_comes_late(watch, tmp_path):
    seen = watch(tmp_path / "later")
    seen.wait(lambda: not seen.watch.health().root_reachable)
    put(tmp_path / "later/one/a.dm4")
    seen.wait_paths(["one/a.dm4"])


def kill_emitters(watch):
    for emitter in watch._events._observer.emitters:
        emitter.stop()
        emitter.join(10)


def kill_observer(watch):
    watch._events._observer.stop()
    watch._events._observer.join(10)


@pytest.mark.parametrize("kill", [kill_emitters, kill_observer])
def test_an_observer_that_died_costs_nothing_and_is_replaced(root, watch, kill):
    seen = watch(reconcile_s=3600.0)
    seen.wait(lambda: seen.watch.health().observer_alive)
    events = seen.watch._events
    dead = events._observer
    kill(seen.watch)
    put(root / "one/a.dm4")
    seen.wait_paths(["one/a.dm4"])
    seen.wait(lambda: events.alive and events._observer is not dead)
    put(root / "one/b.dm4")
    seen.wait_paths(["one/b.dm4"])


def test_a_system_without_events_is_looked_at(root, watch, monkeypatch):
    def refuse(*_):
        raise OSError(28, "inotify watch limit reached")

    monkeypatch.setattr("pychip_stream.acquisition.events.Observer.start", refuse)
    seen = watch()
    put(root / "one/a.dm4")
    seen.wait_paths(["one/a.dm4"])
    seen.wait(lambda: "no file events" in seen.watch.health().detail)
    assert not seen.watch.health().observer_alive


def test_polling_needs_no_events(root, watch):
    put(root / "a.dm4")
    seen = watch(mode="poll")
    seen.wait_paths(["a.dm4"])
    put(root / "b.dm4.tmp").rename(root / "b.dm4")
    put(root / "one/two/c.dm4")
    put(root / "a.dm4", FRAME)
    seen.wait_paths(["b.dm4", "one/two/c.dm4"])
    seen.wait(lambda: len(seen.of("a.dm4")) == 2)
    assert seen.watch._events is None


def test_what_was_handed_on_last_is_kept_an_eye_on(root, watch):
    # A rewrite in place shows in nothing but the file itself: no event, no folder time.
    seen = watch(mode="poll", reconcile_s=3600.0)
    put(root / "a.dm4")
    seen.wait_paths(["a.dm4"])
    put(root / "a.dm4", FRAME[:-8])
    seen.wait(lambda: len(seen.of("a.dm4")) == 2)


def test_an_error_inside_does_not_end_the_watch(root, watch, monkeypatch, caplog):
    original, calls = Rounds.look, []

    def stumble(self, now):
        calls.append(now)
        if len(calls) == 3:
            raise RuntimeError("a mistake")
        original(self, now)

    monkeypatch.setattr(Rounds, "look", stumble)
    seen = watch()
    seen.wait(lambda: len(calls) > 3)
    put(root / "a.dm4")
    seen.wait_paths(["a.dm4"])
    assert "a mistake" in caplog.text


def test_a_share_that_hangs_is_said_to_be_away(root, watch, monkeypatch):
    monkeypatch.setattr("pychip_stream.acquisition.watch._UNREACHABLE_S", 0.5)
    release, step = [], Settler.step

    def hang(self, budget_s):
        while not release:
            time.sleep(0.05)
        return step(self, budget_s)

    seen = watch()
    seen.wait(lambda: seen.watch.health().passes >= 1)
    monkeypatch.setattr(Settler, "step", hang)
    seen.wait(lambda: not seen.watch.health().root_reachable)
    assert "has not answered" in seen.watch.health().detail
    release.append(True)
    seen.wait(lambda: seen.watch.health().root_reachable)


def test_an_unreachable_root_is_not_asked_without_pause(watch, tmp_path):
    seen = watch(tmp_path / "nowhere", scan_s=0.2)
    turns = []
    original = seen.watch._rounds.look
    seen.watch._rounds.look = lambda now: turns.append(now) or original(now)
    start = time.monotonic()
    seen.wait(lambda: len(turns) >= 6)
    assert time.monotonic() - start > 0.7


def test_in_situ_frames_are_timed_by_their_names_and_gaps_are_reported(root, watch):
    for second in range(3):
        for frame in range(4):
            if (second, frame) != (1, 2):
                put(root / insitu(second, frame))
    os.utime(root / insitu(0, 0), (1_700_000_000, 1_700_000_000))
    seen = watch()
    seen.wait(lambda: len(seen.paths) == 11)
    times = {s.frame.path: s.frame.time for s in seen.all}
    assert times[insitu(2, 3)] == pytest.approx(1_700_000_002.75)
    assert sorted(times, key=times.get) == sorted(times)
    seen.wait(lambda: seen.watch.health().missing_count == 1)
    assert seen.watch.health().missing == ("run/run 00:00:01 frame 2",)
    put(root / insitu(1, 2))  # it was only late
    seen.wait(lambda: seen.watch.health().missing_count == 0)


def test_a_frame_that_is_taken_away_is_missing_from_its_series(root, watch):
    for frame in range(3):
        put(root / insitu(0, frame))
    seen = watch()
    seen.wait(lambda: len(seen.paths) == 3)
    assert seen.watch.health().missing_count == 0
    (root / insitu(0, 1)).unlink()
    seen.wait(lambda: seen.watch.health().missing_count == 1)


def test_the_frames_that_the_practice_microscope_leaves_out_are_reported(root, watch):
    made = []

    def storage(folder, truth):
        made.append(FaultyStorage(folder, truth, FaultPlan(("missing",), 0.3, 1)))
        return made[0]

    experiment = Experiment("transformation", 0, 40, (64, 64), interval_s=0.0001, dose=100.0)
    Microscope(root, experiment, 10_000, ["png"], storage=storage).run()
    missing = [insitu_names.parse(entry["path"]).frame for entry in made[0].entries]
    last = max(
        insitu_names.parse(p.relative_to(root).as_posix()).frame for p in root.rglob("*.png")
    )
    seen = watch()
    seen.wait(lambda: len(seen.paths) == 40 - len(missing))
    expected = sum(frame < last for frame in missing)
    assert expected > 5
    seen.wait(lambda: seen.watch.health().missing_count == expected)


def test_the_frames_that_are_waited_for_are_counted_and_a_few_named(root, watch):
    for number in range(30):
        put(root / f"{number}.dm4", FRAME[:-50])
    seen = watch()
    seen.wait(lambda: seen.watch.health().incomplete_count == 30)
    health = seen.watch.health()
    assert len(health.incomplete) == 20
    assert health.pending_count == health.known_count == 30
    assert all("cut off" in reason for _, reason in health.incomplete)


def test_a_look_that_was_on_its_way_leaves_no_reader_behind(watch, monkeypatch):
    seen = watch()
    reader = seen.watch._reader
    close, closed = reader.close, []

    def close_and_look():
        close()
        if not closed:
            reader.start()  # as the next file does
        closed.append(True)

    monkeypatch.setattr(reader, "close", close_and_look)
    seen.watch.stop()
    assert reader._guard._child is None


def test_a_watch_can_be_stopped_and_started(root, watch):
    seen = watch()
    put(root / "a.dm4")
    seen.wait_paths(["a.dm4"])
    seen.watch.stop()
    put(root / "b.dm4")
    seen.watch.start()
    seen.wait_paths(["b.dm4"])
    assert len(seen.all) == 2
