"""Faults of the machine, the disk, the network and the peers; after each the run goes on."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import chaos
from tests.support.hostile import Endless, Flood, Proxy, bend, is_root, memory_mb
from tests.support.plant import QUICK, Plant
from tests.support.ports import free_wire
from tests.support.stack import Stack, call_json

resource = pytest.importorskip("resource", reason="Windows has no such limits")

pytestmark = [
    pytest.mark.system,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(sys.platform != "linux", reason="bends Linux"),
]


class Plants:
    """Lends one stack to test after test; one that did not recover is not lent again."""

    def __init__(self, folder):
        self.folder, self.stacks, self.ready = folder, [], None
        self.support = chaos.make_support(folder)

    def take(self):
        plant, self.ready = self.ready or self._start(), None
        plant.feed()
        return plant

    def _start(self):
        folder = self.folder / f"experiment-{len(self.stacks)}"
        folder.mkdir()
        with pytest.MonkeyPatch.context() as patch:
            clock = bend(patch, folder)
            self.stacks.append(Stack(folder, self.support, **QUICK))
            plant = Plant(self.stacks[-1].start())
        plant.clock, plant.support = clock, self.support
        return plant


@pytest.fixture(scope="module")
def plants(tmp_path_factory):
    made = Plants(tmp_path_factory.mktemp("plants"))
    yield made
    for one in made.stacks:
        one.kill_all()


def lent(plants):
    """A stack that is fed; the next test has it, too, if it recovers from this one."""
    one = plants.take()
    yield one
    if one.recovered:
        plants.ready = one


@pytest.fixture
def plant(plants):
    yield from lent(plants)


def test_hostile_peers_on_every_port_while_frames_arrive(plant, record_property):
    run = plant.run
    services = {name: run.service(f"services.{name}") for name in ("hub", "archiver", "watcher")}
    before = {name: memory_mb(one) for name, one in services.items()}
    with Flood(run.resolved.wire) as flood:
        plant.feed(20)
        run.listen_for(lambda: flood.sent > 3000, "a flood")
    plant.recovers()
    growth = {name: memory_mb(one) - before[name] for name, one in services.items()}
    record_property(
        "figures", f"hostile messages {flood.sent}, memory grew by {max(growth.values()):.0f} MB"
    )
    assert max(growth.values()) < 150, growth
    assert all(one.is_running() for one in services.values())
    assert run.monitor.counter("dropped", "watcher") > 100


def test_the_clock_jumps_forwards_and_backwards(plant):
    for jump_s in (7200.0, -7200.0, 0.0):
        plant.clock.write_text(str(jump_s))
        plant.feed(3)
    plant.recovers()


def test_the_acquisition_folder_goes_and_comes_back(plant):  # an unmounted share
    root = plant.run.root
    away = root.with_name("away")
    root.rename(away)
    plant.wait_state("watcher", "paused", "cannot be reached")
    away.rename(root)
    plant.recovers()


def test_the_disk_takes_nothing_more_and_then_it_does_again(plant):  # writes fail, as on a full one
    archiver = plant.run.service("services.archiver")
    archiver.rlimit(resource.RLIMIT_FSIZE, (512, resource.RLIM_INFINITY))
    plant.write()
    plant.wait_state("archiver", "paused", "cannot be written")
    archiver.rlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    plant.recovers()


def test_the_folder_of_the_archive_goes_and_comes_back(plant):
    folder = plant.run.config.archive.folder
    elsewhere = folder.with_name("elsewhere")
    folder.rename(elsewhere)
    plant.write()
    plant.wait_state("archiver", "paused")
    elsewhere.rename(folder)
    plant.recovers()


def test_segments_that_somebody_removes_are_made_again(plant):
    shutil.rmtree(plant.run.config.archive.folder / "run.segments")
    plant.recovers()


def test_support_sets_are_damaged_and_the_hub_starts_anew(plant):
    damaged = [path for path in (plant.run.folder / "support").glob("*") if path.is_file()]
    assert damaged
    for path in damaged:
        path.write_bytes(b"\x89HDF\r\n\x1a\n" + b"damaged" * 20)
    plant.run.service("services.hub").kill()
    plant.recovers()


def test_a_new_worker_has_the_published_support_set_from_the_hub(plant):
    call_json("support", "publish", plant.support, "--config", plant.run.config_path)
    plant.run.service("services.inference").kill()
    plant.recovers()


def test_after_all_of_this_the_closed_run_is_whole(plant, record_property):
    outcome = plant.finish()
    record_property("figures", outcome.table())


class PoorPlants(Plants):
    """The same on a small disk, without the rights of root, and with little memory."""

    def __init__(self, folder):
        super().__init__(folder)
        self.disk = folder / "disk"
        self.disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(self.disk)]
        self.mounted = is_root() and not subprocess.run(mount, capture_output=True).returncode

    def _start(self):
        supervision = chaos.PATIENT | {"memory_mb": 300}
        archive = QUICK["archive"] | {"folder": str(self.disk / f"{len(self.stacks)}")}
        sections = QUICK | {"supervision": supervision, "archive": archive}
        run = Stack(self.folder / f"experiment-{len(self.stacks)}", self.support, **sections)
        self.stacks.append(run)
        if is_root() and shutil.which("setpriv"):  # who may do anything; so take that away
            less = "-dac_override,-dac_read_search"
            run.prefix = ["setpriv", f"--bounding-set={less}", f"--inh-caps={less}"]
        return Plant(run.start())


@pytest.fixture(scope="module")
def poor_plants(tmp_path_factory):
    made = PoorPlants(tmp_path_factory.mktemp("poor"))
    yield made
    for one in made.stacks:
        one.kill_all()
    if made.mounted:
        subprocess.run(["umount", "-l", str(made.disk)], check=True)


@pytest.fixture
def poor_plant(poor_plants):
    yield from lent(poor_plants)


def test_a_full_disk(poor_plant, poor_plants):
    if not poor_plants.mounted:
        pytest.skip("cannot mount a small file system here")
    ballast = poor_plants.disk / "ballast"
    with (
        ballast.open("wb", buffering=0) as file,
        pytest.raises(OSError, match="No space"),
    ):
        while True:
            file.write(bytes(1 << 12))
    poor_plant.write()
    poor_plant.wait_state("archiver", "paused", "No space left")
    ballast.unlink()
    poor_plant.recovers()


def test_permissions_that_are_taken_away(poor_plant):
    run = poor_plant.run
    if is_root() and not run.prefix:
        pytest.skip("root, and no setpriv to become less")
    segments = run.config.archive.folder / "run.segments"
    segments.chmod(0o500)
    poor_plant.write()
    poor_plant.wait_state("archiver", "paused", "Permission denied")
    segments.chmod(0o700)
    poor_plant.feed()
    run.root.chmod(0)
    poor_plant.wait_state("watcher", "paused", "cannot be reached")
    run.root.chmod(0o700)
    poor_plant.recovers()


def test_a_message_that_never_ends_costs_the_service_that_collects_it(poor_plant):
    """libzmq keeps the parts of a message until its last one, however many they are."""
    run = poor_plant.run
    archiver = run.service("services.archiver")
    with Endless(run.resolved.wire, "results") as peer:
        run.listen_for(lambda: not archiver.is_running(), "it has ended itself")
        assert peer.sent_mb < 3000
    assert any("takes more than 300 MB (supervision.memory_mb); ending" in x for x in run.log)
    poor_plant.recovers()


def test_everything_started_again_twice_repeats_nothing(poor_plant):
    run, written = poor_plant.run, poor_plant.camera.written
    assert run.stop()[0] == 0
    for _ in range(2):
        run.start().wait_archived(len(written))
        poor_plant.feed(2)
        assert run.stop()[0] == 0
    outcome = chaos.examine(run, written, chaos.Outcome())
    assert outcome.clean, outcome.table()
    assert not Path(run.config.archive.folder / "run.segments").exists()


def test_a_deadly_frame_is_given_up_and_its_neighbours_are_not(stack, tmp_path, monkeypatch):
    bend(monkeypatch, tmp_path)
    support = chaos.make_support(tmp_path)
    sections = QUICK | {"inference": {"attempts": 2}, "supervision": {"longest_pause_s": 0.5}}
    plant = Plant(stack(support, **sections))
    plant.write(4)
    shutil.copy(tmp_path / "pattern.tif", plant.run.root / "poison.tif")
    plant.write(4)
    run = plant.run.start()
    run.wait_archived(9, timeout_s=300)
    code, document = run.stop()
    assert code == 0
    assert document["frames"] == 9
    ((path, reason),) = [(row["path"], row["reason"]) for row in document["failed"]]
    assert path == "poison.tif"
    assert "given up after 2 workers" in reason


def test_connections_that_break_and_dawdle(stack, tmp_path, record_property):
    ports = free_wire()
    near = Plant(
        stack(
            chaos.make_support(tmp_path), wire=ports,
            machine={"services": ["hub", "archiver", "watcher"]}, **QUICK,
        )
    )  # fmt: skip
    proxies = {name: Proxy(("127.0.0.1", port), 0.01) for name, port in ports.items()}
    wire = {name: proxy.port for name, proxy in proxies.items()}
    watch = QUICK["watch"] | {"root": str(near.run.root)}
    far = stack(
        wire=wire, machine={"services": ["inference"], "name": "far"}, **(QUICK | {"watch": watch})
    )
    near.run.start()
    far.start()
    try:
        near.feed(3)
        near.camera.start()
        for _ in range(25):
            near.run.monitor.listen(0.1)
            for proxy in proxies.values():
                proxy.cut()
        near.camera.stop()
        near.run.wait_archived(len(near.camera.written), timeout_s=240)
        assert far.stop()[0] == 0
    finally:
        for proxy in proxies.values():
            proxy.close()
    outcome = near.finish()
    cuts = sum(proxy.cuts for proxy in proxies.values())
    assert cuts > 20
    record_property("figures", f"connections cut       {cuts}, frames {outcome.frames}, lost 0")
