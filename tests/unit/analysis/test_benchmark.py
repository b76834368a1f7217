import json

import pytest

from benchmarks import gpu
from pychip_stream.analysis import benchmark as module
from pychip_stream.analysis.analyst import Analyst
from pychip_stream.cli import bench as command
from pychip_stream.cli.main import main
from pychip_stream.errors import UsageError
from pychip_stream.model.encoders import load_encoder


def test_the_step_of_a_worker_reads_real_files_and_labels_them(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(module, "to_message", lambda record, _: seen.append(record) or ())
    monkeypatch.setattr(module.codec, "encode", lambda: None)
    encoder = load_encoder("bundled", device="cpu/float32")
    analyst, refs = module.worker(encoder, tmp_path, 768)
    worker = module.worker_step(analyst, tmp_path, refs)
    bare = module.bare_step(analyst, tmp_path, refs)
    worker.call()
    worker.call()
    assert [r.frame.path for r in seen] == ["768-0.dm4", "768-1.dm4"]
    assert all(r.status == "ok" and r.result.label_map.shape == (12, 12) for r in seen)
    assert bare.call().shape == (12, 12, encoder.dim)
    assert worker.work == bare.work == 144


@pytest.mark.slow
def test_the_share_of_the_worker_is_its_rate_over_that_of_the_bare_encoder(monkeypatch):
    monkeypatch.setattr(module, "measure_speed", lambda *_: {"chips_per_s": 1.0})
    monkeypatch.setattr(module, "_EDGE", 768)
    monkeypatch.setattr(module, "_CALLS", 2)
    read, now = [], [0.0]
    analyse = Analyst.analyse

    def slow(analyst, root, ref, reader):
        now[0] += 3.0  # beside what the encoder takes
        read.append(ref.path)
        return analyse(analyst, root, ref, reader)

    def embed(*args):
        now[0] += 1.0
        return original(*args)

    encoder = load_encoder("bundled", device="cpu/float32")
    original = encoder.embed
    monkeypatch.setattr(Analyst, "analyse", slow)
    monkeypatch.setattr(encoder, "embed", embed)
    turns = module.take_turns
    monkeypatch.setattr(
        module, "take_turns", lambda c, *_, **__: turns(c, 0.0, clock=lambda: now[0])
    )
    found = module.benchmark(encoder, quick=True)
    assert len(read) % 2 == 0
    assert found["worker_chips_per_s"] == 2 * 144 / 8.0
    assert found["worker_share"] == 0.25


def test_the_report_is_one_document_or_a_table(monkeypatch, capsys):
    figures = {
        "encoder": "bundled", "device": "cpu/float32", "threads": 2, "chips_per_s": 1000.0,
        "precisions": {"cpu/int8": 2000.0},
        "resnet18_64_per_s": 100.0, "ratio_resnet18_64": 10.0, "paper_per_s": 4.0,
        "ratio_paper": 250.0, "gemm_gflops": 99.0, "gemm_share": 0.7,
        "worker_chips_per_s": 800.0, "worker_share": 0.8, "frames_per_s": {"512/32": 3.0},
    }  # fmt: skip
    monkeypatch.setattr(module, "benchmark", lambda *_, **__: figures)
    with pytest.raises(SystemExit) as end:
        main(["bench", "--quick", "--json", "--device", "cpu/float32"])
    assert end.value.code == 0
    assert json.loads(capsys.readouterr().out) == figures
    lines = command._table(figures).splitlines()
    assert lines[0] == "bundled on cpu/float32, 2 threads"
    assert ["on", "cpu/int8", "2000"] in [line.split() for line in lines]
    assert lines[-1].split() == ["frames/s", "at", "512/32", "3.0"]


def test_cpu_time_says_nothing_of_other_devices():
    class Elsewhere:
        device = "cuda/bfloat16"

    with pytest.raises(UsageError, match="cuda/bfloat16"):
        module.benchmark(Elsewhere(), quick=True, busy=True)


def test_the_figures_of_a_gpu_need_nothing_but_the_gpu(capsys):
    assert gpu.main(["--dry-run"]) == 0
    _, what, *rows = (line for line in capsys.readouterr().out.splitlines() if line)
    assert what == "| what | found | goal |"
    found = {name: value for name, value, _ in (row[2:-2].split(" | ") for row in rows[1:])}
    same = found["cpu/float32 against cpu/float32"]
    assert same.startswith("100.00% of the labels alike, embeddings moved by 0.0000")
    rates = [name for name, value in found.items() if value.endswith("chips/s")]
    assert len(rates) == len(gpu.DRY.precisions) * len(gpu.DRY.batches) + 1
    for name in ("worker, 704²", "worker that reads ahead, 704²"):
        assert float(found[name].split()[0]) > 0
        assert float(found[name].split()[2]) > 0  # no test judges how fast a machine is
