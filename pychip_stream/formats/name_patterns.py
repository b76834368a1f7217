"""Name patterns: which files of the tree may be frames, by their names."""

import re
from collections.abc import Sequence
from fnmatch import translate

from pychip_stream.formats.reading import is_frame_name


class NamePatterns:
    """Patterns as in a shell (`*`, `?`, `[a-z]`), without regard to case.

    A pattern with a slash is compared with the whole path below the root, one without with the
    file's name and the name of each folder above it.

    Parameters
    ----------
    include
        A file must fit one of these; none: every file does.
    exclude
        A file that fits one of these is left alone.
    """

    def __init__(self, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> None:
        self._include = _Patterns(include or ("*",))
        self._exclude = _Patterns(exclude)

    def takes(self, folder: str, name: str) -> bool:
        """Whether a file may hold frames; its folder is relative to the root ("" for that)."""
        path = f"{folder}/{name}" if folder else name
        return is_frame_name(name) and self._include.fit(path) and not self._exclude.fit(path)


class _Patterns:
    def __init__(self, patterns: Sequence[str]) -> None:
        self._of_paths = _compiled([p.strip("/") for p in patterns if "/" in p])
        self._of_names = _compiled([p for p in patterns if "/" not in p])

    def fit(self, path: str) -> bool:
        if self._of_paths is not None and self._of_paths.match(path):
            return True
        names = self._of_names
        return names is not None and any(names.match(part) for part in path.split("/"))


def _compiled(patterns: Sequence[str]) -> re.Pattern[str] | None:
    if not patterns:
        return None
    return re.compile("|".join(map(translate, patterns)), re.IGNORECASE)
