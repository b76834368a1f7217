"""Fuzzing of the readers: mutated files in, frames or clean refusals out.

    python -m tests.unit.formats.fuzz --count 100000 --seed 7

Runs in a process of its own with a limit on its memory, so that crashes, hangs and greed are
seen. Before each mutation its number is written to standard error; `--only NUMBER` repeats one.
"""

import argparse
import faulthandler
import io
import json
import logging
import random
import struct
import sys
import tempfile
import time
from pathlib import Path

import h5py
import mrcfile
import numpy as np
import tifffile
from PIL import Image

from pychip_stream.domain.frames import Frame
from pychip_stream.errors import FrameError, FrameIncompleteError
from pychip_stream.formats.reading import contents, read_frame
from pychip_stream.sim import dm4

MAX_BYTES = 64 << 20
RAMP = np.arange(24 * 40, dtype=np.uint16).reshape(24, 40)
BYTES = (RAMP % 251).astype(np.uint8)
COLOURS = np.stack([BYTES, BYTES[::-1], BYTES.T.copy().reshape(BYTES.shape)], axis=-1)
NUMBERS = [0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 1 << 24, (1 << 31) - 1, 1 << 31,
           (1 << 32) - 1, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]  # fmt: skip


def dm3(*images):
    """A minimal DM3 file, which does not say which of its images is shown."""

    def entry(kind, name, body):
        return struct.pack(">BH", kind, len(name)) + name + body

    def group(*entries):
        return struct.pack(">BBI", 0, 0, len(entries)) + b"".join(entries)

    def data(name, info, payload):
        head = b"%%%%" + struct.pack(f">I{len(info)}I", len(info), *info)
        return entry(21, name, head + payload)

    def image(pixels):
        sizes = [data(b"", [5], struct.pack("<I", edge)) for edge in reversed(pixels.shape)]
        described = group(
            data(b"Data", [20, 4, pixels.size], pixels.astype("<u2").tobytes()),
            data(b"DataType", [5], struct.pack("<I", 10)),
            entry(20, b"Dimensions", group(*sizes)),
        )
        return entry(20, b"", group(entry(20, b"ImageData", described)))

    tree = group(entry(20, b"ImageList", group(*map(image, images))))
    return struct.pack(">III", 3, len(tree), 1) + tree + bytes(8)


def tiff(pixels, **options):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, **({"metadata": None} | options))
    return buffer.getvalue()


def picture(pixels, kind, **options):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def palette():
    buffer = io.BytesIO()
    Image.fromarray(COLOURS).quantize(64).save(buffer, "PNG")
    return buffer.getvalue()


def ser():
    from tests.unit.formats.test_formats import ser as encode

    return encode(np.stack([RAMP, RAMP]))


def by_name(folder, suffix, write):
    path = Path(folder) / f"seed.{suffix}"
    write(path)
    return path.read_bytes()


def emd(path):
    with h5py.File(path, "w") as file:
        group = file.create_group("data/stack")
        group.attrs["emd_group_type"] = 1
        group.create_dataset("data", data=np.stack([RAMP, RAMP]), chunks=(1, 24, 40), compression=1)
        for number in (1, 2, 3):
            group.create_dataset(f"dim{number}", data=np.arange(4.0))


def seeds(folder, real=None):
    """Whole files to start from: name → bytes."""
    stack = np.stack([RAMP] * 3)
    out = {
        "dm4": dm4.encode(RAMP, pixel_size=1.0, exposure_s=0.1, time=1.7e9),
        "dm4 stack": dm4.encode(stack, pixel_size=1.0),
        "dm3": dm3(RAMP),
        "tiff": tiff(RAMP),
        "tiff big-endian": tiff(RAMP, byteorder=">"),
        "bigtiff": tiff(RAMP, bigtiff=True),
        "bigtiff tiled": tiff(RAMP, bigtiff=True, tile=(16, 16), compression="zlib"),
        "tiff tiled": tiff(RAMP, tile=(16, 16)),
        "tiff strips": tiff(RAMP, rowsperstrip=3, compression="packbits"),
        "tiff pages": tiff(stack, photometric="minisblack"),
        "tiff imagej": tiff(stack, imagej=True, metadata={"unit": "nm"}),
        "tiff ome": tiff(stack, ome=True, metadata={"axes": "TYX"}),
        "tiff rgb planar": tiff(np.moveaxis(COLOURS, -1, 0), photometric="rgb", planarconfig=2),
        "tiff palette": tiff(BYTES, photometric="palette", colormap=np.zeros((3, 256), np.uint16)),
        "tiff float": tiff(RAMP.astype(np.float32), compression="zlib", predictor=3),
        "tiff jpeg": tiff(COLOURS, compression="jpeg", photometric="rgb"),
        "png": picture(RAMP, "PNG"),
        "png rgb": picture(COLOURS, "PNG"),
        "png palette": palette(),
        "jpeg": picture(BYTES, "JPEG"),
        "ser": ser(),
        "mrc": by_name(folder, "mrc", lambda path: mrcfile.write(path, stack)),
        "emd": by_name(folder, "emd", emd),
    }  # fmt: skip
    for name in ("lzw", "zstd", "lzma", "jpeg2000", "lerc", "webp"):
        out[f"tiff {name}"] = tiff(
            COLOURS if name == "webp" else RAMP,
            compression=name,
            photometric="rgb" if name == "webp" else None,
        )
    for path in sorted((real or Path("/nowhere")).glob("dm/ref_*.dm[34]")):
        out[path.name] = path.read_bytes()
    return out


def mutate(data, rng):
    """Do one to four things to a file that disks, cables and programs do."""
    out = bytearray(data)
    head = rng.random() < 0.6  # structure is mostly at the beginning
    for _ in range(rng.randint(1, 4)):
        if not out:
            break
        at = rng.randrange(min(len(out), 400) if head else len(out))
        kind = rng.randrange(8)
        if kind == 0:
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            out[at] = rng.randrange(256)
        elif kind == 2:
            width = rng.choice([1, 2, 4, 8])
            value = rng.choice(NUMBERS) & ((1 << 8 * width) - 1)
            out[at : at + width] = value.to_bytes(width, rng.choice(["little", "big"]))
        elif kind == 3:
            del out[at:]
        elif kind == 4:
            end = at + rng.randrange(1, 64)
            out[at:end] = bytes(len(out[at:end]))
        elif kind == 5:
            del out[at : at + rng.randrange(1, 32)]
        elif kind == 6:
            start = rng.randrange(len(out))
            piece = out[start : start + rng.randrange(1, 64)]
            out[at:at] = piece
        else:
            out[at : at + 8] = rng.randbytes(8)
    return bytes(out)


def limit_memory(extra):
    """Let the process have so many bytes more than it has; where the system can do that."""
    try:
        import resource
    except ImportError:
        return
    pages = Path("/proc/self/statm")
    if pages.exists():
        now = int(pages.read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + extra, resource.RLIM_INFINITY))


def peak_mb():
    try:
        import resource
    except ImportError:
        return 0.0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--memory-mb", type=int, default=768)
    parser.add_argument("--real", type=Path, help="folder of real data for more seeds")
    parser.add_argument("--only", type=int, help="repeat one mutation and show what comes out")
    options = parser.parse_args()
    faulthandler.enable()
    logging.disable()
    counts = {"frames": 0, "incomplete": 0, "refused": 0}
    slowest = (0.0, "")
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        originals = seeds(folder, options.real)
        for name, data in originals.items():  # libraries load what they need
            Path(folder, "warm").write_bytes(data)
            if not name.startswith("ref_"):
                read_frame(Path(folder, "warm"))
        before = peak_mb()
        limit_memory(options.memory_mb << 20)
        names = list(originals)
        numbers = range(options.count) if options.only is None else [options.only]
        done = 0
        for number in numbers:
            if time.monotonic() - start > options.seconds:
                break
            name = names[number % len(names)]
            rng = random.Random(f"{options.seed}/{number}")
            path = Path(folder, f"{number}.bin")
            path.write_bytes(mutate(originals[name], rng))
            if number % 50 == 0 or options.only is not None:
                print(f"{number} {name}", file=sys.stderr, flush=True)
            begun = time.perf_counter()
            what = attempt(path)
            slowest = max(slowest, (time.perf_counter() - begun, f"{number} {name}"))
            counts[what] += 1
            path.unlink()
            done += 1
    report = {
        "done": done,
        **counts,
        "seeds": len(names),
        "slowest_s": round(slowest[0], 3),
        "slowest": slowest[1],
        "peak_mb": round(peak_mb(), 1),
        "grown_mb": round(peak_mb() - before, 1),
        "seconds": round(time.monotonic() - start, 1),
    }
    print(json.dumps(report))


def attempt(path):
    """Count and read; anything but frames and refusals is an error of ours."""
    try:
        count, missing = contents(path, final=True)
        for index in {0, count - 1} - missing.keys():
            frame = read_frame(path, index, max_bytes=MAX_BYTES)
            assert isinstance(frame, Frame)
            assert frame.pixels.ndim == 2
            assert frame.pixels.nbytes <= MAX_BYTES
            frame.pixels.max()  # all of it is there
    except FrameIncompleteError:
        return "incomplete"
    except FrameError as error:
        assert "\n" not in str(error)
        return "refused"
    return "frames"


if __name__ == "__main__":
    main()
