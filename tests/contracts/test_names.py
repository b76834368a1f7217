"""Names that others write down: of Python, the configuration, services, pages, metrics."""

import importlib
import inspect
import json
import subprocess
import sys
import time

import numpy as np
import pytest

import pychip_stream
from dashboard.app import Dashboard
from dashboard.pages import PAGES
from pychip_stream.config import Config
from pychip_stream.operation.health import RunHealth
from pychip_stream.operation.metrics import HealthCollector
from pychip_stream.wire.channel import Received
from pychip_stream.wire.codec import Packet
from pychip_stream.wire.messages import Alert, FrameRef, Live, Seen, Status
from tests.conftest import ROOT

PROGRAMS = (
    *(
        f"benchmarks.{path.stem}"
        for path in sorted((ROOT / "benchmarks").glob("*.py"))
        if "__main__" in path.read_text("utf-8")
    ),
    "training.__main__",
    "tests.unit.formats.fuzz",
)
MODULES = (
    "cli.main",
    "dashboard.app",
    "services.archiver",
    "services.hub",
    "services.inference",
    "services.sentinel",
    "services.watcher",
)


def outline(one):
    """A function's parameters, or what a class can be asked for."""
    if not inspect.isclass(one):
        return [parameters(one)]
    members = {name: inspect.getattr_static(one, name) for name in dir(one) if name[0] != "_"}
    return [parameters(one), *(f"    .{name}{kind_of(one, name)}" for name in sorted(members))]


def kind_of(owner, name):
    member = getattr(owner, name)
    return parameters(member) if callable(member) else ""


def parameters(one):
    """Names and defaults; annotations name places, which may change."""
    told = []
    for parameter in inspect.signature(one).parameters.values():
        plain = parameter.replace(annotation=inspect.Parameter.empty)
        if callable(parameter.default) or type(parameter.default).__module__ != "builtins":
            plain = plain.replace(default=inspect.Parameter.empty)
            told.append(f"{plain}=…" if parameter.default is not parameter.empty else str(plain))
        else:
            told.append(str(plain))
    return f"({', '.join(told)})"


def test_the_python_interface(snapshot):
    found = {}
    for name in pychip_stream.__all__:
        head, *members = outline(getattr(pychip_stream, name))
        found[f"{name}.txt"] = "\n".join([f"{name}{head}", *members])
    snapshot("python", found)


def inlined(node, definitions):
    """A schema without references and without the names of classes."""
    if isinstance(node, list):
        return [inlined(one, definitions) for one in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        node = definitions[node["$ref"].rpartition("/")[2]] | node
    hidden = {"$ref", "$defs"} | ({"title"} if isinstance(node.get("title"), str) else set())
    return {key: inlined(one, definitions) for key, one in node.items() if key not in hidden}


def test_keys_of_the_configuration(snapshot):
    schema = Config.model_json_schema()
    sections = inlined(schema, schema["$defs"])["properties"]
    defaults = Config(watch={"root": "frames"}).model_dump(mode="json")
    found = {}
    for name, section in sections.items():
        keys = section.get("items", section)["properties"]
        section = {"properties": keys, "now": defaults[name]}
        found[f"{name}.json"] = json.dumps(section, indent=1, ensure_ascii=False)
    snapshot("configuration", found)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODULES)
def test_modules_that_are_started_by_name(name):
    command = [sys.executable, "-m", f"pychip_stream.{name}", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert "usage" in done.stdout.lower()


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_beside_the_package_find_what_they_import(name):
    assert callable(importlib.import_module(name).main)


def routes_of(rules):
    """Patterns of addresses, in the order in which they are tried."""
    for rule in rules:
        pattern = getattr(rule.matcher, "regex", None)
        if pattern is not None:
            yield pattern.pattern
        yield from routes_of(getattr(rule.target, "rules", ()))


def test_addresses_and_pages_of_the_dashboard(snapshot, tmp_path):
    config = Config(
        watch={"root": tmp_path}, archive={"folder": tmp_path}, support={"folder": tmp_path},
        dashboard={"port": 0}, wire=dict.fromkeys(("tasks", "results", "requests", "events"), 9),
    )  # fmt: skip
    board = Dashboard(config)
    try:
        addresses = list(routes_of(board._server._tornado.default_router.rules))
    finally:
        board.close()
    pages = [view.title for view in PAGES]
    snapshot("dashboard", {"addresses.txt": "\n".join(addresses), "pages.txt": "\n".join(pages)})


def test_metrics(snapshot):
    health, ref = RunHealth(), FrameRef(path="a.tif", time=1.0, seen=1.1)
    live = Live(
        frame=ref, names=("alpha",), colors=("#0072b2",), support_version="v", chip_size=(8, 8),
        shape=(16, 16), status="ok", read=1.2, classified=1.3, received=1.4,
    )  # fmt: skip
    counters = {"seen": 1.0, "archived": 1.0, "latency.read.p50": 0.5}
    arrays = {"intervals": np.array([[0.5, 0.4, 0.6], [0.5, 0.4, 0.6]])}
    for message in (
        Status(service="archiver", instance="archiver", state="running", time=time.time(),
               counters=counters),
        Seen(frame=ref),
        live,
        Alert(id="1", rule="r", level="info", state="on", reason="so", time=1.0),
    ):  # fmt: skip
        health.take(Received(Packet(message, arrays if message is live else {}), b"", b""))
    found = [
        f"{metric.type} {sample.name} {', '.join(sample.labels)}: {metric.documentation}"
        for metric in HealthCollector(health).collect()
        for sample in metric.samples
    ]
    snapshot("metrics", {"metrics.txt": "\n".join(dict.fromkeys(found))})
