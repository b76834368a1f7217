"""Published micrographs, and the chips that their authors chose as examples."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Micrograph:
    """An image of pyChip's figure 2; sizes are width × height for chips, rows × columns else."""

    name: str
    examples: str
    chip: tuple[int, int]
    shape: tuple[int, int]
    grid: tuple[int, int]
    place: str
    first: int

    def picks(self, folder):
        """(row, column) of the authors' chips of each class, from the names of their files."""
        found = {}
        for part in sorted(p for p in (folder / self.examples).iterdir() if p.is_dir()):
            numbers = [re.search(self.place, f.name) for f in sorted(part.iterdir())]
            places = [(int(m[1]) - self.first, int(m[2]) - self.first) for m in numbers if m]
            found[part.name] = places if self.first else [p[::-1] for p in places]
        return found


LAO = Micrograph("LaO.png", "LaO_support", (34, 35), (790, 787), (22, 23), r"_(\d+)_(\d+)\.\w+$", 1)
MOO3 = Micrograph(
    "MoO3.tiff", "MoO3_support", (32, 32), (512, 512), (16, 16), r"cropX_(\d+)_Y_(\d+)", 0
)
