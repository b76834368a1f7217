"""The ledger over restarts of everybody, as a state machine."""

from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from pychip_stream.acquisition.identity import Answers
from pychip_stream.acquisition.ledger import Ledger
from tests.unit.acquisition.test_ledger import File

PATHS = st.sampled_from(["a", "b", "c"])


class Restarts(RuleBasedStateMachine):
    """Files change, workers die, the watcher and the archiver restart: in the end the archive
    holds every frame of every file that stayed, once."""

    def __init__(self):
        super().__init__()
        self.folder = {}
        self.archive = {}
        self.rows = []
        self.held = {}
        self.now = 0.0
        self.clock = 0
        self.unpublished = []
        self.ledger = Ledger(max_attempts=10**6, lease_s=5.0)

    @rule(path=PATHS, frames=st.integers(1, 3))
    def written(self, path, frames):
        self.clock += 1
        self.folder[path] = File(path, 1, self.clock, frames, time=float(self.clock))
        self.ledger.add(self.folder[path])

    @rule(path=PATHS)
    def sighted_again(self, path):
        if path in self.folder:
            assert self.ledger.add(self.folder[path]) == 0

    @rule(path=PATHS)
    def deleted(self, path):
        if self.folder.pop(path, None):
            self.ledger.forget(path)

    @rule(worker=st.sampled_from("xy"))
    def leased(self, worker):
        lease = self.ledger.lease(worker, self.now)
        if lease is not None:
            assert lease.frame not in self.archive
            self.held.setdefault(worker, []).append(lease)

    @rule(worker=st.sampled_from("xy"))
    def finished(self, worker):
        if self.held.get(worker):
            lease = self.held[worker].pop(0)
            file = self.folder.get(lease.frame.path)
            if file is None or file.frame.mtime_ns != lease.frame.mtime_ns:
                self.ledger.release(lease.number, "has changed")
            else:
                self.unpublished.append(lease.frame)

    @rule()
    def published(self):
        for key in self.unpublished:
            if key not in self.archive:
                self.archive[key] = len(self.archive)
                self.rows.append(key)
                self.ledger.archived(key)
        self.unpublished.clear()

    @rule()
    def looked_up(self):
        """A stack that has changed is compared; here every change is one of all its bytes."""
        questions = self.ledger.identity.questions(self.now)
        if questions is not None:
            grown = questions.grown.items()
            hashes = {stack: dict.fromkeys(indices, f"{stack}") for stack, indices in grown}
            self.ledger.learn(Answers(hashes, {}, set()), self.now)

    @rule(worker=st.sampled_from("xy"))
    def beat(self, worker):
        self.ledger.renew(worker, self.now, [one.number for one in self.held.get(worker, [])])

    @rule(worker=st.sampled_from("xy"))
    def worker_dies(self, worker):
        self.held.pop(worker, None)
        self.ledger.lost(worker, self.now)

    @rule(seconds=st.floats(0, 8))
    def time_passes(self, seconds):
        self.now += seconds
        self.ledger.expire(self.now)

    @rule()
    def archiver_dies(self):
        self.unpublished.clear()

    @rule(order=st.booleans())
    def watcher_dies(self, order):
        self.ledger = Ledger(max_attempts=10**6, lease_s=5.0, first_lease=1000)
        steps = [
            lambda: [self.ledger.archived(key) for key in self.rows],
            lambda: [self.ledger.add(file) for file in self.folder.values()],
        ]
        for step in steps if order else reversed(steps):
            step()

    @invariant()
    def what_is_behind_is_what_the_folder_has_and_the_archive_lacks(self):
        there = {replace(f.frame, index=i) for f in self.folder.values() for i in range(f.frames)}
        assert self.ledger.counts["behind"] == len(there - set(self.archive))
        assert self.ledger.counts["archived"] == len(self.archive)

    def teardown(self):
        for _ in range(200):
            self.now += 40.0
            self.ledger.expire(self.now)
            lease = self.ledger.lease("last", self.now)
            self.looked_up()
            if lease is None and not self.ledger.counts["behind"]:
                break
            if lease is not None:
                self.held["last"] = [lease]
                self.finished("last")
            self.published()
        there = {replace(f.frame, index=i) for f in self.folder.values() for i in range(f.frames)}
        assert there <= set(self.rows)
        assert len(self.rows) == len(set(self.rows))


TestRestarts = Restarts.TestCase
TestRestarts.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
