"""Any order of creating, writing, renaming, deleting and restarting: what stays is done once."""

import shutil
import tempfile
from pathlib import Path
from unittest import mock

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, rule

from pychip_stream.acquisition.ledger import Ledger
from pychip_stream.acquisition.watch import FolderWatch
from pychip_stream.config import WatchConfig
from pychip_stream.formats.reading import contents
from tests.support.material import TINY

FOLDERS = ["", "a", "a/b", "c"]
NAMES = st.builds(
    lambda folder, name: f"{folder}/{name}".lstrip("/"),
    st.sampled_from(FOLDERS),
    st.sampled_from(["1.png", "2.PNG", "3.tif"]),
)


class Orders(RuleBasedStateMachine):
    """The watch is turned by hand, with its events switched off; some hints arrive, most do not.

    Every write makes a file of another size, so that each is a revision of its own.
    """

    drafts = Bundle("drafts")

    @initialize(polling=st.booleans())
    def begin(self, polling):
        self.home = Path(tempfile.mkdtemp())
        self.root = self.home / "root"
        self.root.mkdir()
        self.mode = "poll" if polling else "auto"
        self.size = 0
        self.rows = []
        self.open = []
        self.patch = mock.patch("pychip_stream.acquisition.tree._SHARE", 1e9)
        self.patch.start()
        self.restart()

    def content(self):
        self.size += 1
        return TINY + bytes(self.size)

    def hint(self, *paths):
        for path in paths:
            self.watch._hints.note(path)

    @rule(path=NAMES, hinted=st.booleans())
    def write(self, path, hinted):
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(self.content())
        if hinted:
            self.hint(path)

    @rule(path=NAMES)
    def write_half(self, path):
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        file = place.open("wb", buffering=0)
        file.write(TINY[:40])
        self.open.append((file, path))

    @rule(hinted=st.booleans())
    def write_rest(self, hinted):
        if self.open:
            file, path = self.open.pop()
            file.write(TINY[40:] + bytes(1000 + self.size))
            self.size += 1
            file.close()
            if hinted:
                self.hint(path)

    @rule(old=NAMES, new=NAMES, hinted=st.booleans())
    def rename(self, old, new, hinted):
        if (self.root / old).is_file() and not any(path == old for _, path in self.open):
            (self.root / new).parent.mkdir(parents=True, exist_ok=True)
            (self.root / old).replace(self.root / new)
            if hinted:
                self.hint(old, new)

    @rule(path=NAMES, hinted=st.booleans())
    def delete(self, path, hinted):
        (self.root / path).unlink(missing_ok=True)
        if hinted:
            self.hint(path)

    @rule(old=st.sampled_from(FOLDERS[1:]), new=st.sampled_from(["d", "e/f"]), hinted=st.booleans())
    def move_folder(self, old, new, hinted):
        if self.open or not (self.root / old).is_dir() or (self.root / new).exists():
            return
        (self.root / new).parent.mkdir(parents=True, exist_ok=True)
        (self.root / old).rename(self.root / new)
        if hinted:
            self.hint(old, new)

    @rule(folder=st.sampled_from(FOLDERS[1:]))
    def remove_folder(self, folder):
        if not self.open:
            shutil.rmtree(self.root / folder, ignore_errors=True)

    @rule()
    def share_away(self):
        if not self.open:
            self.root.rename(self.home / "away")
            self.turn()
            self.turn()
            (self.home / "away").rename(self.root)

    @rule()
    def restart(self):
        """Kill the watcher and its ledger; only the folder and the archive stay."""
        config = WatchConfig(
            root=self.root, mode=self.mode, quiet_s=0.0, scan_s=0.001, reconcile_s=0.001
        )
        self.watch = FolderWatch(config)
        self.watch._events = None
        self.watch._settler._look_into = contents  # many processes would start otherwise
        self.watch._pause = lambda: None
        self.ledger = Ledger()
        for row in self.rows:
            self.ledger.archived(row)

    @rule()
    def turn(self):
        self.watch._turn()

    @rule()
    def work(self):
        """Do all there is: take sightings, read what is as it was sighted, archive it."""
        for sighting in self.watch.poll(0.0):
            assert sighting.problem is None
            self.ledger.add(sighting)
        for path in self.watch.vanished():
            self.ledger.forget(path)
        while (lease := self.ledger.lease("w", 0.0)) is not None:
            frame = lease.frame
            if self.revision(self.root / frame.path) == (frame.size, frame.mtime_ns):
                assert frame not in self.rows
                self.rows.append(frame)
                self.ledger.archived(frame)
            else:
                self.ledger.release(lease.number, "has changed")
                self.watch.look_at(frame.path)

    @staticmethod
    def revision(place):
        try:
            found = place.stat()
        except OSError:
            return None
        return found.st_size, found.st_mtime_ns

    def teardown(self):
        if not hasattr(self, "home"):
            return
        while self.open:
            self.write_rest(False)
        passes = self.watch._rounds.passes
        for _ in range(5000):
            self.turn()
            self.work()
            if self.watch._rounds.passes > passes + 10 and not len(self.watch._settler):
                break
        there = {
            (place.relative_to(self.root).as_posix(), *self.revision(place))
            for place in self.root.rglob("*")
            if place.is_file() and place.stat().st_size > 40
        }
        self.patch.stop()
        shutil.rmtree(self.home)
        assert there <= {(f.path, f.size, f.mtime_ns) for f in self.rows}
        assert len(self.rows) == len(set(self.rows))
        assert self.ledger.counts["behind"] == 0
        assert self.watch._tree.file_count == len(there)


TestOrders = Orders.TestCase
TestOrders.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
