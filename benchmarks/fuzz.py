"""Let every fuzzer of the test suite run for a while, and say what they found.

`python -m benchmarks.fuzz --minutes 10 --seed 1`: messages of the wire, the page, files of images,
and files of runs (archive, scoring, segment, live view, support set), each for a quarter of the
time. What is found is printed with the words that find it again.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

_ROOT = Path(__file__).parents[1]
_CASES = 4000
_PYTEST = ("pytest", "-q", "-x", "--show-capture=no")
TESTS = {
    "messages": "tests/unit/wire/test_fuzz_messages.py",
    "page": "tests/unit/dashboard/test_fuzz_page.py",
}
PROGRAMS = {"images": "tests.unit.formats.fuzz", "files of runs": "tests.unit.archive.fuzz"}


def _call(words: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *words], cwd=_ROOT, capture_output=True, text=True, check=False
    )


def run_test(path: str, seconds: float, seed: int) -> tuple[str, bool]:
    """Repeat a test with one seed after the other; what came of it, and whether all was well."""
    end, rounds = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        words = [*_PYTEST, path, "--fuzz", str(_CASES), "--fuzz-seed"]
        done = _call([*words, str(seed + rounds)])
        if done.returncode:
            sys.stderr.write(done.stdout[-4000:])
            return f"python -m {' '.join(words)} {seed + rounds}", False
        rounds += 1
    return f"{rounds} rounds of --fuzz {_CASES}", True


def run_program(module: str, seconds: float, seed: int) -> tuple[str, bool]:
    """Let a program run for so long; what came of it, and whether all was well."""
    words = [module, "--count", str(10**9), "--seconds", str(seconds), "--seed", str(seed)]
    done = _call(words)
    if done.returncode:
        sys.stderr.write(done.stderr[-4000:])
        number = next((w.split()[0] for w in reversed(done.stderr.splitlines()) if w[:1].isdigit()),
                      "?")  # fmt: skip
        return f"python -m {module} --seed {seed} --only {number}", False
    report = json.loads(done.stdout)
    return ", ".join(f"{name} {value}" for name, value in report.items()), True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    share, well = 60 * options.minutes / (len(TESTS) + len(PROGRAMS)), True
    print(f"seed {options.seed}\n| fuzzer | outcome |\n|---|---|", flush=True)
    for places, run in ((TESTS, run_test), (PROGRAMS, run_program)):
        for name, place in places.items():
            outcome, fine = run(place, share, options.seed)
            print(f"| {name} | {'' if fine else 'FOUND: '}{outcome} |", flush=True)
            well &= fine
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
