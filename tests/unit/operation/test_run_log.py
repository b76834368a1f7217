"""The log of a run: whole lines, bounded, never in the way."""

from pychip_stream.operation.supervisor import RunLog


def test_lines_name_their_service(tmp_path):
    log = RunLog(tmp_path / "run.log")
    log.write("hub", "up")
    log.write("archiver", "closed")
    assert (tmp_path / "run.log").read_text() == "hub        up\narchiver   closed\n"


def test_old_lines_move_aside_and_then_go(tmp_path):
    log = RunLog(tmp_path / "run.log", most_bytes=100)
    for number in range(50):
        log.write("hub", f"line {number}")
    kept = (tmp_path / "run.log.1").read_text()
    newest = (tmp_path / "run.log").read_text() if (tmp_path / "run.log").exists() else ""
    assert (kept + newest).endswith("line 49\n")
    assert len(kept) + len(newest) < 300
    assert sorted(p.name for p in tmp_path.iterdir()) in (["run.log", "run.log.1"], ["run.log.1"])


def test_disk_that_refuses_costs_lines_only(tmp_path):
    RunLog(tmp_path / "no" / "folder" / "run.log").write("hub", "lost")
    assert list(tmp_path.iterdir()) == []
