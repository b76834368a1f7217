"""A running stack that is fed, disturbed and checked."""

from tests.support import chaos

QUICK = {
    "encoder": chaos.EXACT,
    "watch": {"quiet_s": 0.2, "reconcile_s": 1.0},
    "archive": {"segment_s": 0.3},
    "supervision": chaos.PATIENT,
}


class Plant:
    """A running stack that is fed and checked between faults."""

    def __init__(self, run):
        self.run = run
        self.camera = chaos.Camera(run.root, 20.0)
        self.recovered = False

    def feed(self, count=5):
        """Write frames and wait until they are archived."""
        self.write(count)
        self.run.wait_archived(len(self.camera.written), timeout_s=300)

    def write(self, count=5):
        for _ in range(count):
            self.camera.write()

    def wait_state(self, instance, state, says=""):
        def reached():
            status = self.run.monitor.statuses.get(instance)
            return self.run.monitor.state(instance) == state and says in status.detail

        self.run.listen_for(reached, f"{instance} is {state} ({says})")

    def recovers(self, count=5):
        """Frames are archived again, and everything written so far is there once and right."""
        self.recovered = False
        self.feed(count)
        outcome = chaos.examine(self.run, self.camera.written, chaos.Outcome())
        assert outcome.clean, outcome.table()
        self.recovered = True

    def finish(self):
        code, _ = self.run.stop()
        assert code == 0, "\n".join(self.run.log[-20:])
        outcome = chaos.examine(self.run, self.camera.written, chaos.Outcome())
        assert outcome.clean, outcome.table()
        return outcome
