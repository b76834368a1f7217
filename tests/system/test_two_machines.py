"""Two machines, as docs/operate.md sets them up: on two loopback addresses, with keys."""

import shutil
import sys

import pytest
import yaml

from tests.support import chaos
from tests.support.ports import free_wire
from tests.support.stack import call, call_json

pytestmark = [
    pytest.mark.system,
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "darwin", reason="127.0.0.2 is not there by itself"),
]

MICROSCOPE, GPU = "127.0.0.2", "127.0.0.1"


def test_microscope_and_gpu_machine(stack, tmp_path):
    keys = tmp_path / "keys"
    call_json("keys", keys)
    made = call_json("keys", keys, "--client", "microscope", "--services")
    assert any(name.endswith("server.key_secret") for name in made["files"])
    moved = tmp_path / "on-the-microscope"
    shutil.move(keys / "microscope", moved)

    wire = free_wire() | {"host": GPU, "watcher_host": MICROSCOPE}
    quick = {
        "watch": {"quiet_s": 0.2, "reconcile_s": 1.0},
        "inference": {"frames": "pixels"},
    }
    gpu = stack(
        chaos.make_support(tmp_path),
        machine={"services": ["hub", "archiver", "inference"], "name": "gpu"},
        wire=wire | {"keys": str(keys)}, **quick,
    )  # fmt: skip
    microscope = stack(
        machine={"services": ["watcher"], "name": "microscope"},
        wire=wire | {"keys": str(moved)}, **quick,
    )  # fmt: skip
    gpu.root.rmdir()  # that machine does not see the frames

    gpu.start()
    microscope.start()
    camera = chaos.Camera(microscope.root, 20.0, limit=10).start()
    microscope.wait_archived(10)
    camera.stop()

    document = call_json("status", gpu.config_path)
    assert set(document["services"]) == {"hub", "archiver", "worker-gpu-1", "watcher"}
    assert document["troubles"] == []

    stranger = tmp_path / "stranger"
    call_json("keys", stranger)
    (stranger / "server.key_secret").unlink()
    shutil.copy(keys / "server.key", stranger)
    tree = yaml.safe_load(gpu.config_path.read_text())
    tree["wire"]["keys"] = str(stranger)
    other = tmp_path / "stranger.yaml"
    other.write_text(yaml.safe_dump(tree))
    code, _, err = call("support", "publish", tmp_path / "support.h5", "--config", other)
    assert code == 1
    assert "key allowed" in err

    code, document = microscope.stop()
    assert (code, document["run"]) == (0, None)
    code, document = gpu.stop()
    assert code == 0
    outcome = chaos.examine(gpu, camera.written, chaos.Outcome())
    assert outcome.clean, outcome.table()


def test_another_address_without_keys_is_refused(tmp_path):
    (tmp_path / "acquisition").mkdir()
    config = tmp_path / "config.yaml"
    config.write_text("watch: {root: acquisition}\nwire: {host: 0.0.0.0}\n")
    code, out, err = call("run", config)
    assert (code, out) == (2, "")
    assert "needs keys" in err
