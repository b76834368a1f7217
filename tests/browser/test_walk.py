"""The walk is complete: each finding is looked at by one act, which says what it saw."""

import inspect
import re

from tests.browser.walk.__main__ import SCENES
from tests.browser.walk.findings import FINDINGS


def test_every_finding_is_seen_by_one_act():
    asked = []
    for scene in SCENES.values():
        for findings, act in scene.acts:
            source = inspect.getsource(act)
            found = re.findall(r'walk\.see\(\s*"(\w+)"', source)
            assert sorted(found) == sorted(findings), act.__name__
            asked += findings
    assert sorted(asked) == sorted(FINDINGS)
    counts = {"B": 5, "S": 23, "M": 29}  # as issue 17 lists them
    assert [f"{kind}{n}" for kind, last in counts.items() for n in range(1, last + 1)] == [
        one for one in FINDINGS if one[0] != "W"
    ]
