"""Messages in which something is odd: values, shapes, bytes; all follow from a random generator."""

import copy
import math

import msgspec
import numpy as np

from pychip_stream.wire import codec

ODD = (
    None, True, -1, 0, 1, 5, 2**31, 2**40, 2**53, 2**62, 2**63 - 1, 2**64 - 1, -(2**62), 0.5,
    -1e300, 1e300, 3e11, math.nan, math.inf, -math.inf, "", "x", "\0", "a\0b", "unknown",
    "\x1b[31m", "a\nb", "../../x", "/etc/x", "C:\\x", "ä" * 300, "y" * 5000, "z" * 300_000,
    "n/" * 100, "#12345", "ok", "failed", [], {}, [1], [1, 2], [2**40, 2**40], [-1, 3], [0, 0],
    ["a", "a"],
    ["unknown"], ["a\0", "b"], [str(n) for n in range(300)], {"a": 1.0}, [[]] * 40,
    {"seen": math.nan, "archived": math.inf}, {"latency.read.p50": math.inf}, {"drift": 1e308},
    {str(n): 1.0 for n in range(500)}, [0, 2**62, 2**62],
)  # fmt: skip
GRIDS = ((), (0,), (0, 0), (0, 5), (5, 0), (1,), (1, 1), (1, 3), (3, 4), (5, 3), (3, 3), (3, 4, 2))
DTYPES = ("u1", "f2", "f4", "f8", "i8", "?", "i1")


def places(tree, path=()):
    """Where something can be changed in a header."""
    yield path
    children = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in children:
        if isinstance(value, dict | list | tuple):
            yield from places(value, (*path, key))
        else:
            yield (*path, key)


def change(rng, header):
    """Put an odd value somewhere in a header."""
    path = rng.choice([p for p in places(header) if p and p != ("type",)] or [("x",)])
    where = header
    for key in path[:-1]:
        where = where[key]
    if isinstance(where, dict) and rng.random() < 0.1:
        where.pop(path[-1], None)
    else:
        where[path[-1]] = copy.deepcopy(rng.choice(ODD))


def bend(rng, arrays):
    """Change the shape or the content of an array, or leave one out."""
    name = rng.choice(sorted(arrays))
    kind = rng.random()
    if kind < 0.15:
        del arrays[name]
    elif kind < 0.6:
        shape = rng.choice((*GRIDS, arrays[name].shape))
        if rng.random() < 0.3:
            shape = (*shape, 2)
        values = rng.choice((0, 1, 200, math.nan, math.inf))
        dtype = rng.choice(DTYPES)
        with np.errstate(all="ignore"):
            arrays[name] = np.full(shape, values).astype(dtype)
    else:
        array = np.array(arrays[name])
        if array.size:
            flat = array.reshape(-1).view(np.uint8)
            for _ in range(rng.randrange(1, 4)):
                flat[rng.randrange(flat.size)] = rng.randrange(256)
        arrays[name] = array


def mutated(rng, message, arrays):
    """Bytes of a message in which a few things are odd."""
    parts = [bytes(part) for part in codec.encode(message, arrays)]
    if arrays and rng.random() < 0.5:
        arrays = dict(arrays)
        for _ in range(rng.choice((1, 1, 2))):
            if arrays:
                bend(rng, arrays)
        parts = [bytes(part) for part in codec.encode(message, arrays)]
    if rng.random() < 0.75:
        header = msgspec.msgpack.decode(parts[1])
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            change(rng, header)
        parts[1] = msgspec.msgpack.encode(header)
    if rng.random() < 0.1:
        which = rng.randrange(len(parts))
        torn = bytearray(parts[which])
        if torn:
            torn[rng.randrange(len(torn))] ^= 1 << rng.randrange(8)
        parts[which] = bytes(torn[: rng.randrange(len(torn) + 1)] if rng.random() < 0.3 else torn)
    return parts
