"""A run without a worker: the real hub and dashboard, and results that are made up here.

It starts in a second or two and needs no network library, so pages can be tested at any rate.
"""

import socket
import subprocess
import sys
import time

import numpy as np
import tifffile
import yaml
import zmq

from pychip_stream import config as configuration
from pychip_stream.domain.frames import FrameRef
from pychip_stream.wire.channel import Channel
from pychip_stream.wire.messages import Live, Seen, Status
from tests.support.ports import free_ports, free_wire
from tests.support.waiting import wait_for

NAMES, COLORS = ("alpha", "beta"), ("#0072b2", "#e69f00")


def two_textures(size, share, rng):
    """A frame whose left part is fine and whose right part is coarse."""
    fine = rng.normal(1000, 200, (size, size))
    coarse = np.kron(rng.normal(2000, 400, (size // 8, size // 8)), np.ones((8, 8)))
    pixels = np.where(np.arange(size)[None, :] < share * size, fine, coarse)
    return np.clip(pixels, 0, 65535).astype(np.uint16)


class Rehearsal:
    def __init__(self, folder, size=256, chip=32, **dashboard):
        self.folder, self.size, self.chip = folder, size, chip
        self.root = folder / "acquisition"
        self.root.mkdir(parents=True)
        (page,) = free_ports(1)
        tree = {
            "watch": {"root": "acquisition"},
            "wire": free_wire(),
            "dashboard": {"port": page, **dashboard},
        }
        self.config_path = folder / "config.yaml"
        self.config_path.write_text(yaml.safe_dump(tree))
        self.config = self.resolved = configuration.load(self.config_path)  # every port is chosen
        self.address = f"http://127.0.0.1:{page}/"
        self.processes = {}
        self.sent = 0
        self.name = "frame_{:05d}.tif"
        self.version = "0" * 32
        self.latest = 0.0
        self.textures = {}
        self.rng = np.random.default_rng(0)
        self.context = zmq.Context()
        self.channel = Channel(self.context, zmq.DEALER, 1000)
        self.channel.connect(self.config.wire.endpoint("requests"))

    def start(self, *names):
        for name in names or ("services.hub", "dashboard.app"):
            with (self.folder / f"{name}.log").open("ab") as log:
                self.processes[name] = subprocess.Popen(
                    self.command(name),
                    stdout=log,
                    stderr=log,
                )
        self.wait_for_page()
        return self

    def command(self, name):
        return [sys.executable, "-m", f"pychip_stream.{name}", str(self.config_path)]

    def wait_for_page(self):
        wait_for(self.answers, lambda: self.log("dashboard.app"), timeout_s=180.0, pause_s=0.1)

    def answers(self):
        try:
            socket.create_connection(("127.0.0.1", self.config.dashboard.port), 1).close()
        except OSError:
            return False
        return True

    def log(self, name):
        return (self.folder / f"{name}.log").read_text(errors="replace")[-3000:]

    def frame(
        self, share=0.5, behind=0, labels=None, after=0.01, names=NAMES, sure=230, **measured
    ):
        """Write a frame and say what a worker and the archiver would say of it.

        It is exposed `after` seconds after now or the newest frame, so that it is the newest.
        """
        ref, now = self.raw(share, after), time.time()
        edge = self.size // self.chip
        if labels is None:
            labels = np.zeros((edge, edge), np.uint8)
            labels[:, round(share * edge) :] = 1
        values = [(labels == 0).mean(), (labels == 1).mean(), (labels == 2).mean()]
        intervals = np.array([[v, max(v - 0.05, 0), min(v + 0.05, 1)] for v in values])
        live = Live(
            frame=ref, names=names, colors=COLORS, support_version=self.version,
            chip_size=(self.chip, self.chip), shape=(self.size, self.size), status="ok",
            pixel_size=0.05, unit="nm", read=now, classified=now, received=now,
            measured=measured,
        )  # fmt: skip
        sure, unlike = (np.full(labels.shape, levels, np.uint8) for levels in (sure, 64))
        arrays = {
            "label_map": labels, "confidence": sure, "novelty": unlike, "intervals": intervals
        }  # fmt: skip
        self.channel.send(live, arrays)
        self.watcher(behind)
        return ref

    def raw(self, share=0.5, after=0.01):
        """Write a frame and say what the watcher would say of it."""
        path = self.root / self.name.format(self.sent)
        self.sent += 1
        tifffile.imwrite(path, self.texture(round(share, 1)))
        now = time.time()
        moment = self.latest = max(self.latest, now) + after
        ref = FrameRef(
            path=path.name, size=path.stat().st_size, mtime_ns=time.time_ns(), time=moment, seen=now
        )
        self.channel.send(Seen(frame=ref))
        return ref

    def worker(self, support=True, detail=""):
        """Say what a worker would say of itself."""
        state = "running" if support else "waiting"
        self.service("worker-1", state, detail, support=float(support))

    def service(self, instance, state, detail, service="inference", **counters):
        self.channel.send(
            Status(
                service=service, instance=instance, time=time.time(), detail=detail, state=state,
                counters=counters,
            )
        )  # fmt: skip

    def texture(self, share):
        if share not in self.textures:
            self.textures[share] = two_textures(self.size, share, self.rng)
        return self.textures[share]

    def watcher(self, behind=0):
        counters = {"seen": self.sent, "archived": self.sent - behind, "behind": behind}
        counters = {name: float(value) for name, value in counters.items()}
        self.service("watcher", "running", "", "watcher", **counters)

    def stop(self):
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.channel.close()
        self.context.term()
