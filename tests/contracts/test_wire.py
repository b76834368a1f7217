"""Bytes on the wire: every message, tag, field and its place; and what topics are called."""

import json
from dataclasses import fields, is_dataclass
from types import UnionType
from typing import Annotated, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
import numpy as np
import pytest

from pychip_stream.wire import codec, messages
from tests.contracts.conftest import SNAPSHOTS

KINDS = {kind.__name__.lower(): kind for kind in get_args(messages.AnyMessage)}
ARRAYS = {"numbers": np.arange(6, dtype="<u2").reshape(2, 3)}


def filled(kind, name=""):
    """A value of a type that is not its default; a text is the name of its field."""
    origin, within = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return filled(within[0], name)
    if origin is Literal:
        return within[-1]
    if origin in (UnionType, Union):
        return filled(within[0], name)
    if origin is tuple:
        return tuple(filled(one, name) for one in within if one is not Ellipsis)
    if origin is dict:
        return {name: filled(within[1])}
    if isinstance(kind, type) and (issubclass(kind, msgspec.Struct) or is_dataclass(kind)):
        hints = get_type_hints(kind, include_extras=True)
        names = getattr(kind, "__struct_fields__", None) or [one.name for one in fields(kind)]
        return kind(**{one: filled(hints[one], one) for one in names})
    return {str: name, int: 7, float: 0.5, bool: True}[kind]


def golden(name):
    """The parts of a message as they were kept."""
    lines = (SNAPSHOTS / "wire" / f"{name}.txt").read_text().splitlines()
    return [bytes.fromhex(line) for line in lines[-3:]]


def test_messages_are_written_as_ever(snapshot):
    found = {}
    for name, kind in KINDS.items():
        parts = [bytes(part) for part in codec.encode(filled(kind), ARRAYS)]
        header = json.dumps(msgspec.msgpack.decode(parts[1]), indent=1)
        found[f"{name}.txt"] = "\n".join([header, *(part.hex() for part in parts)])
    snapshot("wire", found)


@pytest.mark.parametrize("name", KINDS)
def test_messages_are_read_as_ever(name):
    packet = codec.decode(golden(name))
    described = (messages.Array("numbers", "<u2", (2, 3)),)
    assert packet.message == msgspec.structs.replace(filled(KINDS[name]), arrays=described)
    assert np.array_equal(packet.arrays["numbers"], ARRAYS["numbers"])


def test_topics(snapshot):
    names = {name: value for name, value in vars(messages).items() if isinstance(value, bytes)}
    snapshot("topics", {"topics.txt": "\n".join(f"{k}: {v.decode()}" for k, v in names.items())})
