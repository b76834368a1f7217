"""Disks that die or fail at a chosen moment."""

import errno
import os

from pychip_stream.archive.disk import Disk


class Died(BaseException):
    """The process was killed; nothing it had in mind is done any more."""


class QuickDisk(Disk):
    """Does not wait for the platter: what a killed process wrote stays in the system's memory."""

    def sync(self, descriptor):
        pass

    def sync_folder(self, folder):
        pass


class DyingDisk(QuickDisk):
    """Dies at the n-th operation: before it, just after it, or in the middle of a write.

    Nothing works afterwards, so that no cleaning up can help, as after a SIGKILL.
    """

    def __init__(self, at, when="before"):
        self.at = at
        self.when = when
        self.count = 0
        self.dead = False
        self.divisible, self.syncs = [], []

    def _step(self, action, torn=None):
        if self.dead:
            raise Died
        self.count += 1
        if torn is not None:
            self.divisible.append(self.count)
        if self.count != self.at:
            return action()
        self.dead = True
        if self.when == "torn" and torn is not None:
            torn()
        elif self.when == "after":
            action()
        raise Died

    def write_some(self, descriptor, data):
        return self._step(
            lambda: super(DyingDisk, self).write_some(descriptor, data),
            lambda: os.write(descriptor, data[: len(data) // 2]),
        )

    def sync(self, descriptor):
        self._step(lambda: super(DyingDisk, self).sync(descriptor))
        self.syncs.append(self.count)

    def publish(self, temporary, final):
        def torn():  # both names are there
            os.link(temporary, final)

        return self._step(lambda: super(DyingDisk, self).publish(temporary, final), torn)

    def replace(self, temporary, final):
        return self._step(lambda: super(DyingDisk, self).replace(temporary, final))

    def remove(self, path):
        return self._step(lambda: super(DyingDisk, self).remove(path))


class FailingDisk(QuickDisk):
    """Raises an error while `broken`, for some kinds of operation."""

    def __init__(self, number=errno.ENOSPC, kinds=("write_some", "sync", "publish", "replace")):
        self.number = number
        self.kinds = kinds
        self.broken = False
        self.failures = 0

    def _maybe(self, kind):
        if self.broken and kind in self.kinds:
            self.failures += 1
            raise OSError(self.number, os.strerror(self.number))

    def write_some(self, descriptor, data):
        if self.broken and "write_some" in self.kinds and len(data) > 100:
            os.write(descriptor, data[:100])  # a full disk takes a little
        self._maybe("write_some")
        return super().write_some(descriptor, data)

    def sync(self, descriptor):
        self._maybe("sync")
        super().sync(descriptor)

    def publish(self, temporary, final):
        self._maybe("publish")
        super().publish(temporary, final)

    def replace(self, temporary, final):
        self._maybe("replace")
        super().replace(temporary, final)
