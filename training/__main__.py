"""Train the package's encoder: python -m training --out FOLDER.

Running it again resumes. The weights file is written to FOLDER/encoder.pt at the end; look at
it with benchmarks/accuracy.py --encoder FOLDER/encoder.pt.
"""

import argparse
import logging
import os
from dataclasses import fields
from pathlib import Path


def main() -> None:
    """Parse the command line, train, export."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the scene workers
    from training.export import export
    from training.run import Run, Settings, design

    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder, not in the repository")
    parser.add_argument("--export-only", action="store_true", help="of what there is so far")
    for field in fields(Settings):
        kind = type(field.default)
        parser.add_argument(f"--{field.name}", type=kind, default=field.default)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if not args.export_only:
        settings = Settings(**{f.name: getattr(args, f.name) for f in fields(Settings)})
        Run(args.out, settings, design(settings)).train()
    export(args.out, args.out / "encoder.pt")


if __name__ == "__main__":
    main()
