"""Messages to and from byte buffers; knows nothing of sockets.

A message is [magic with version, header, buffer, buffer, …]: the header is MessagePack and
describes the buffers, which are C-ordered, little-endian array contents.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from pychip_stream.errors import WireError
from pychip_stream.wire.messages import VERSION, AnyMessage, Array, Message

MAGIC = b"pychip-stream/%d" % VERSION
MAX_HEADER = 4 << 20
MAX_BUFFERS = 16
MAX_BYTES = 1 << 30

_M = TypeVar("_M", bound=Message)
_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[AnyMessage] = msgspec.msgpack.Decoder(AnyMessage)

Buffer = bytes | memoryview


class Packet(NamedTuple):
    """A decoded message with its arrays (read-only views of the received buffers)."""

    message: AnyMessage
    arrays: dict[str, npt.NDArray[np.generic]]


def encode(
    message: Message, arrays: Mapping[str, npt.NDArray[np.generic]] | None = None
) -> list[Buffer]:
    """Turn a message and its arrays into the parts of a multipart message.

    Arrays that are C-ordered and little-endian already are not copied.
    """
    buffers: list[Buffer] = []
    described = []
    for name, array in (arrays or {}).items():
        dtype = array.dtype.newbyteorder("<")
        plain = np.ascontiguousarray(array, dtype=dtype)
        described.append(Array(name, dtype.str, tuple(int(n) for n in array.shape)))
        buffers.append(plain.reshape(-1).view(np.uint8).data)
    if described:
        message = msgspec.structs.replace(message, arrays=tuple(described))
    return [MAGIC, _encoder.encode(message), *buffers]


def decode(frames: Sequence[Buffer]) -> Packet:
    """Read a multipart message; anything wrong with it is a `WireError`."""
    if len(frames) < 2 or len(frames) > 2 + MAX_BUFFERS:
        raise WireError(f"message of {len(frames)} parts")
    if bytes(frames[0][:64]) != MAGIC:
        raise WireError(f"message of another protocol or version: {bytes(frames[0][:24])!r}")
    if len(frames[1]) > MAX_HEADER:
        raise WireError(f"header of {len(frames[1])} bytes is too large")
    try:
        message = _decoder.decode(frames[1])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(f"header cannot be read: {str(error)[:300]}") from error
    if len(message.arrays) != len(frames) - 2:
        raise WireError(f"{len(frames) - 2} buffers where {len(message.arrays)} are announced")
    arrays = {
        spec.name: _array(spec, buffer)
        for spec, buffer in zip(message.arrays, frames[2:], strict=True)
    }
    if len(arrays) < len(message.arrays):
        raise WireError("two arrays of one name")
    return Packet(message, arrays)


def bytes_array(data: bytes) -> dict[str, npt.NDArray[np.generic]]:
    """Wrap bytes as the array "data"."""
    return {"data": np.frombuffer(data, np.uint8)}


def _array(spec: Array, buffer: Buffer) -> npt.NDArray[np.generic]:
    try:
        dtype = np.dtype(spec.dtype)
    except (TypeError, ValueError, SyntaxError) as error:
        raise WireError(f"array {spec.name!r} of unknown type {spec.dtype!r}") from error
    if dtype.kind not in "buif" or dtype.itemsize == 0:
        raise WireError(f"array {spec.name!r} of type {spec.dtype!r} is not allowed")
    count = 1
    for n in spec.shape:
        if n < 0:
            raise WireError(f"array {spec.name!r} of negative size")
        count *= n
    if count * dtype.itemsize != len(buffer) or len(buffer) > MAX_BYTES:
        raise WireError(f"array {spec.name!r}: {len(buffer)} bytes do not make {spec.shape}")
    try:
        array = np.frombuffer(buffer, dtype).reshape(spec.shape)
    except ValueError as error:  # no bytes, but an axis beyond what addresses can count
        raise WireError(f"array {spec.name!r} of shape {spec.shape}") from error
    array.flags.writeable = False
    return array
