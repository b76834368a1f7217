"""Fixtures of the system tests."""

import pytest

from tests.support.chaos import EXACT
from tests.support.stack import Stack


@pytest.fixture
def stack(tmp_path):
    """Make stacks; whatever is left of them is killed at the end."""
    made = []

    def make(support=None, **sections):
        sections = {"encoder": EXACT} | sections
        made.append(Stack(tmp_path / f"experiment-{len(made)}", support, **sections))
        return made[-1]

    yield make
    for one in made:
        one.kill_all()
