import shutil
import zipfile

import matplotlib
import numpy as np
import pytest
from PIL import Image

from pychip_stream.analysis.chip_import import import_chips
from pychip_stream.domain.chips import ChipSize
from pychip_stream.errors import SupportError, SupportUsageError


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name, level in (("dark", 40), ("bright", 200)):
        (tmp_path / name).mkdir()
        for number in range(2):
            chip = (level + rng.integers(-20, 20, (35, 34))).astype(np.uint8)
            Image.fromarray(chip).save(tmp_path / name / f"{number}.png")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "notes.txt").write_text("not a class")
    return tmp_path


def test_class_folders_become_classes(folder):
    support = import_chips(folder)
    assert support.counts == {"bright": 2, "dark": 2}
    assert support.chip_size == ChipSize(34, 35)
    assert support.chips[0].pixels.dtype == np.uint8
    assert support.chips[0].source.path == "bright/0.png"


def test_a_picture_in_two_classes_is_an_error(folder):
    shutil.copy(folder / "dark" / "0.png", folder / "bright" / "again.png")
    with pytest.raises(SupportUsageError, match=r"dark/0.png .* 'bright' and of 'dark'"):
        import_chips(folder)


@pytest.mark.parametrize("name", ["Unknown", "UNKNOWN "])
def test_no_folder_is_called_like_unknown(folder, name):
    (folder / "dark").rename(folder / name)
    with pytest.raises(SupportUsageError, match="rejected chips"):
        import_chips(folder)


def test_frames_are_brought_to_the_range_of_the_chips(folder):
    support = import_chips(folder)
    frame = np.full((35, 34), 200 * 256, np.uint16)
    assert support.normalization.apply(frame).mean() == pytest.approx(200 / 255, abs=0.01)
    ranged = import_chips(folder, intensity_range=(1000.0, 3000.0))
    chip = ranged.normalization.apply(ranged.chips[0].pixels)
    assert chip == pytest.approx(support.normalization.apply(support.chips[0].pixels), abs=1e-3)
    assert ranged.normalization.apply(np.array([[1000.0, 3000.0]])).tolist() == [[0, 1]]


def test_equalised_chips_are_left_as_they_are(folder):
    support = import_chips(folder, clahe=True)
    assert support.normalization.clahe
    plain = import_chips(folder)
    stored = support.chip_normalization.apply(support.chips[0].pixels)
    assert stored == pytest.approx(plain.chips[0].pixels / 255.0, abs=1e-6)


def test_the_colour_map_of_pychip_is_undone(tmp_path):
    grey = np.tile(np.arange(0, 256, 8, dtype=np.uint8), (32, 1))
    coloured = (matplotlib.colormaps["viridis"](grey)[..., :3] * 255).astype(np.uint8)
    for name, picture in (("a", coloured), ("b", coloured[:, ::-1])):
        (tmp_path / name).mkdir()
        Image.fromarray(picture).save(tmp_path / name / "chip.png")
    undone = import_chips(tmp_path).chips[0].pixels
    assert np.abs(undone.astype(int) - grey).max() <= 1


def test_real_chips_of_moo3_match_the_frame_they_were_cut_from(shared_data):
    """The authors' chips went through 8 bits, JPEG and viridis; the grey values survive."""
    tifffile = pytest.importorskip("tifffile")
    folder = shared_data / "pychip_fig2bc"
    frame = tifffile.imread(folder / "MoO3.tiff")
    support = import_chips(folder / "MoO3_support")
    chip = next(c for c in support.chips if c.source.path.endswith("cropX_5_Y_2.jpg"))
    cut = frame[2 * 32 : 3 * 32, 5 * 32 : 6 * 32]
    there = support.chip_normalization.apply(chip.pixels)
    here = support.normalization.apply(cut)
    assert np.corrcoef(there.ravel(), here.ravel())[0, 1] > 0.95
    assert abs(float(there.mean() - here.mean())) < 0.05


@pytest.mark.parametrize("spoil", ["missing", "empty", "size", "picture", "mixed", "one class"])
def test_what_cannot_be_imported_is_one_clear_error(folder, spoil):
    target, size = folder, None
    if spoil == "missing":
        target = folder / "nowhere"
    elif spoil == "empty":
        target = folder / ".hidden"
    elif spoil == "size":
        size = ChipSize(32, 32)
    elif spoil == "picture":
        (folder / "dark" / "x.png").write_text("no picture")
    elif spoil == "mixed":
        Image.fromarray(np.zeros((9, 9), np.uint8)).save(folder / "dark" / "x.png")
    else:
        for chip in (folder / "dark").iterdir():
            chip.unlink()
        (folder / "dark").rmdir()
        size = None
    with pytest.raises(SupportError) as caught:
        import_chips(target, size)
    assert "\n" not in str(caught.value)


def test_what_file_managers_add_is_left_alone(folder):
    before = import_chips(folder).counts
    for name in ("dark", "bright"):
        (folder / name / "._0.png").write_bytes(b"no picture")
        (folder / name / "Thumbs.db").write_bytes(b"none either")
    (folder / "__MACOSX" / "dark").mkdir(parents=True)
    (folder / "__MACOSX" / "._dark.png").write_bytes(b"no class")
    (folder / "@eaDir").mkdir()
    assert import_chips(folder).counts == before


def test_folders_from_a_mac_are_imported(shared_data, tmp_path):
    with zipfile.ZipFile(shared_data / "reported" / "support_from_mac.zip") as archive:
        archive.extractall(tmp_path)
    assert import_chips(tmp_path / "set").counts == {"blobs": 3, "stripes": 3}
