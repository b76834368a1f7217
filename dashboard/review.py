"""Review: the page on archives, without a run."""

import argparse
import socket
import sys
from pathlib import Path

from pychip_stream import config as configuration
from pychip_stream import logs, process

from .app import Dashboard


def main(argv: list[str] | None = None) -> int:
    """Serve the pages that need no run, until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m pychip_stream.dashboard.review")
    parser.add_argument("paths", type=Path, nargs="+", help="archives, or folders with archives")
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument(
        "--config", type=Path, help="of a run that has ended: its page's accounts, address, port"
    )
    parser.add_argument("--log-format", choices=("text", "json"), default="text")
    options = parser.parse_args(argv)
    level = "INFO" if options.config else "WARNING"
    logs.configure("review", style=options.log_format, level=level)
    stop = process.stop_event()

    def go_on() -> Dashboard:
        config = configuration.load(options.config)
        logs.set_run(config.archive.name)
        return Dashboard(config, options.paths, config.archive.name)

    def start() -> Dashboard:
        first = next(p if p.is_dir() else p.parent for p in options.paths)
        tree = {
            "watch": {"root": str(first)},
            "dashboard": {"port": options.port or _free_port()},
        }
        board = Dashboard(configuration.parse(tree, "review", Path.cwd()), options.paths)
        sys.stderr.write(f"http://127.0.0.1:{board.port}/\n")
        sys.stderr.flush()
        return board

    return process.run(go_on if options.config else start, stop)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


if __name__ == "__main__":
    process.leave(main())
