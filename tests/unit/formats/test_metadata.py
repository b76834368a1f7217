"""What files say of stage, beam and detector: by format, in the units of the quantities."""

from datetime import datetime, timedelta

import numpy as np
import pytest
import tifffile
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pychip_stream.domain.frames import TEXTS
from pychip_stream.domain.quantities import OF_FRAMES
from pychip_stream.formats.metadata import collect, labelled
from pychip_stream.formats.reading import frame_count, read_frame
from pychip_stream.sim import dm4
from tests.unit.formats.test_formats import ser
from tests.unit.formats.test_mrc import made
from tests.unit.formats.test_velox import velox

RAMP = np.arange(8 * 12, dtype=np.uint16).reshape(8, 12)
STACK = np.stack([RAMP, RAMP]).astype(np.int16)


def told(path, index=0):
    metadata = dict(read_frame(path, index).metadata)
    for name, value in metadata.items():
        assert isinstance(value, str) if name in TEXTS else name in OF_FRAMES, name
    return metadata


def test_dm_tags(tmp_path):
    stage = {
        "Stage X": 78.5,
        "Stage Y": -10.25,
        "Stage Z": 3.0,
        "Stage Alpha": 24.9,
        "Stage Beta": -2.0,
    }
    tags = {
        "Microscope Info": {
            "Voltage": 300_000.0, "Indicated Magnification": 1e5, "STEM Camera Length": 77.0,
            "Stage Position": stage, "Name": "FEI Tecnai Remote",
        },
        "DigiScan": {"Sample Time": 32.5},
        "Session Info": {"Microscope": "", "Detector": "GIF CCD"},
        "InSitu": {"SmartSet": {"Temperature": 650.5}},
    }  # fmt: skip
    (tmp_path / "a.dm4").write_bytes(dm4.encode(RAMP, tags=tags))
    assert told(tmp_path / "a.dm4") == {
        "high_voltage_kV": 300.0, "magnification": 1e5, "camera_length_mm": 77.0,
        "stage_x_um": 78.5, "stage_y_um": -10.25, "stage_z_um": 3.0, "stage_alpha_deg": 24.9,
        "stage_beta_deg": -2.0, "stage_temperature_C": 650.5, "dwell_us": 32.5,
        "microscope": "FEI Tecnai Remote", "detector": "GIF CCD",
    }  # fmt: skip


def test_what_is_nothing_is_left_out(tmp_path):
    microscope = {"Voltage": 0.0, "Indicated Magnification": float("nan"), "Name": "Unknown"}
    (tmp_path / "a.dm4").write_bytes(dm4.encode(RAMP, tags={"Microscope Info": microscope}))
    assert told(tmp_path / "a.dm4") == {}


def test_velox_tells_each_frame(tmp_path):
    def meta(number):
        return {
            "Optics": {"AccelerationVoltage": "200000", "CameraLength": "0.098"},
            "CustomProperties": {"StemMagnification": {"type": "double", "value": "40000"}},
            "Stage": {
                "Position": {"x": "-9.25e-006", "y": "1e-4", "z": "0"},
                "AlphaTilt": str(np.radians(10.0 + number)), "BetaTilt": "0",
                "HolderType": "Single Tilt",
            },
            "Scan": {"DwellTime": "2e-05"},
            "Instrument": {"InstrumentClass": "Talos"},
        }  # fmt: skip

    velox(tmp_path / "a.emd", {"a": ("HAADF", RAMP, meta)}, frames=2)
    assert told(tmp_path / "a.emd", 1) == {
        "high_voltage_kV": 200.0, "camera_length_mm": 98.0, "magnification": 40_000.0,
        "stage_x_um": -9.25, "stage_y_um": 100.0, "stage_z_um": 0.0, "stage_alpha_deg": 11.0,
        "stage_beta_deg": 0.0, "dwell_us": 20.0, "microscope": "Talos", "detector": "HAADF",
        "holder": "Single Tilt",
    }  # fmt: skip


def test_a_camera_of_velox_tells_its_exposure(tmp_path):
    meta = {
        "BinaryResult": {"Detector": "BM-Ceta", "DetectorIndex": "3"},
        "Detectors": {"Detector-1": {"ExposureTime": "9"}, "Detector-3": {"ExposureTime": "0.8"}},
    }
    velox(tmp_path / "a.emd", {"a": ("BM-Ceta", RAMP, meta)})
    assert read_frame(tmp_path / "a.emd").exposure_s == 0.8


def tagged(path, code, text):
    kind = 2 if isinstance(text, str) else 7
    tifffile.imwrite(path, RAMP, metadata=None, extratags=[(code, kind, len(text), text, True)])


def test_fei_tiff(tmp_path):
    text = (
        "[Beam]\r\nHV=5000\r\nBeam=EBeam\r\n[Stage]\r\nStageX=2.5e-05\r\nStageY=-1e-6\r\n"
        "StageZ=0.008\r\nStageT=0.5235987755982988\r\n[EScan]\r\nDwell=1e-05\r\n"
        '[System]\r\nSystemType=Helios NanoLab" 660\r\n[Detectors]\r\nName=ETD\r\n'
    )
    tagged(tmp_path / "a.tif", 34682, text)
    assert told(tmp_path / "a.tif") == {
        "high_voltage_kV": 5.0, "stage_x_um": 25.0, "stage_y_um": -1.0, "stage_z_um": 8000.0,
        "stage_alpha_deg": 30.0, "dwell_us": 10.0, "microscope": 'Helios NanoLab" 660',
        "detector": "ETD",
    }  # fmt: skip


def test_a_camera_of_an_fei_microscope_tells_its_field_of_view(tmp_path):
    text = (
        "[Beam]\r\nBeam=IRBeam\r\n[IRBeam]\r\nHFW=0.2048\r\nVFW=0.1024\r\n"
        "[Image]\r\nResolutionX=1024\r\nResolutionY=256\r\n"
    )
    tagged(tmp_path / "a.tif", 34682, text)
    frame = read_frame(tmp_path / "a.tif")
    assert (frame.pixel_size, frame.unit, frame.pixel_ratio) == (200_000.0, "nm", 2.0)


def test_zeiss_tiff(tmp_path):
    lines = {
        "AP_DATE": "Date :25 Sep 2018", "AP_TIME": "Time :8:20:42",
        "AP_ACTUALKV": "EHT = 5.00 kV", "AP_MAG": "Mag = 50.00 K X",
        "AP_STAGE_AT_X": "Stage at X = 62.9961 mm", "AP_STAGE_AT_T": "Stage at T = 7.5 °",
        "DP_DWELL_TIME": "Dwell Time = 50 ns", "DP_DETECTOR_TYPE": "Detector = HE-SE2",
        "DP_SAMPLE_HOLDER": "Sample Holder = Carousel",
        "SV_SERIAL_NUMBER": "Serial No. = Merlin-61-08",
    }  # fmt: skip
    text = "0\r\n0\r\n0\r\n1.5e-9\r\n" + "".join(f"{k}\r\n{v}\r\n" for k, v in lines.items())
    tagged(tmp_path / "a.tif", 34118, text.encode("cp1252"))
    assert told(tmp_path / "a.tif") == {
        "high_voltage_kV": 5.0, "magnification": 50_000.0, "stage_x_um": 62_996.1,
        "stage_alpha_deg": 7.5, "dwell_us": 0.05, "detector": "HE-SE2", "holder": "Carousel",
        "microscope": "Merlin-61-08",
    }  # fmt: skip
    frame = read_frame(tmp_path / "a.tif")
    assert frame.time == datetime(2018, 9, 25, 8, 20, 42).timestamp()
    assert (frame.pixel_size, frame.unit) == (1.5, "nm")


JEOL = (
    "<TemReporter><Instruments>JEM-ARM200F</Instruments><ElectronGun><AccelerationVoltage>200000"
    "</AccelerationVoltage></ElectronGun><Eos><EosMode>{eos}</EosMode></Eos><ImageFormingSystem>"
    "<ModeString>{mode}</ModeString><SelectorValue>{value}</SelectorValue><SelectorUnitString>"
    "{unit}</SelectorUnitString></ImageFormingSystem><GonioStage><HolderInformation><Name>Nothing"
    "</Name></HolderInformation><StagePosition><MX>2308.9</MX><TX>10.45</TX></StagePosition>"
    "</GonioStage><Scan><Modelname>ADF1</Modelname></Scan></TemReporter>"
)


@pytest.mark.parametrize(
    ("eos", "mode", "value", "unit", "size", "more"),
    [
        ("eosTEM", "MAG", 150_000, "X", (1.820789, "nm"), {"magnification": 150_000.0}),
        ("eosTEM", "DIFF", 400, "mm", (0.272254, "1/nm"), {"camera_length_mm": 400.0}),
        ("eosTEM", "DIFF", 40, "cm", (0.272254, "1/nm"), {"camera_length_mm": 400.0}),
        ("eosASID", "SMMAG", 150_000, "X", (1.820789, "nm"), {"magnification": 150_000.0}),
        ("eosASID", "MAG", 400_000, "X", (None, None), {}),
    ],
    ids=["image", "diffraction", "in cm", "scanned", "ronchigram"],
)
def test_jeol_tiff(tmp_path, eos, mode, value, unit, size, more):
    tifffile.imwrite(
        tmp_path / "a.tif", RAMP, metadata=None,
        description=JEOL.format(eos=eos, mode=mode, value=value, unit=unit),
        resolution=(36.614178, 36.614178), resolutionunit="CENTIMETER",
    )  # fmt: skip
    frame = read_frame(tmp_path / "a.tif")
    expected = size[0] and pytest.approx(size[0], rel=2e-3)
    assert (frame.pixel_size, frame.unit) == (expected, size[1])
    assert frame.metadata == {
        "microscope": "JEM-ARM200F", "detector": "ADF1", "high_voltage_kV": 200.0,
        "stage_alpha_deg": 10.45, "stage_x_um": 2.3089, **more,
    }  # fmt: skip


def test_ome_tiff(tmp_path):
    text = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        '<Instrument ID="Instrument:0"><Microscope Model="Talos"/><Detector ID="D:0" Model="Ceta"/>'
        '<Objective ID="O:0" NominalMagnification="5500"/></Instrument><Image ID="Image:0">'
        '<ImagingEnvironment Temperature="-180.5"/><StageLabel Name="a" X="1.5" XUnit="mm" Y="2"/>'
        '<Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint16" SizeX="12" SizeY="8" SizeC="1" '
        'SizeZ="1" SizeT="1"><TiffData/></Pixels></Image></OME>'
    )
    tifffile.imwrite(tmp_path / "a.tif", RAMP, metadata=None, description=text.encode())
    assert told(tmp_path / "a.tif") == {
        "microscope": "Talos", "detector": "Ceta", "magnification": 5500.0,
        "stage_temperature_C": -180.5, "stage_x_um": 1500.0,
    }  # fmt: skip


def fei_block(alpha, moment):
    block = bytearray(768)
    block[0:4] = (768).to_bytes(4, "little")
    first = sum(1 << bit for bit in (0, 5, 6, 7, 9, 14, 15, 31))
    block[8:12] = first.to_bytes(4, "little")
    days = (moment - datetime(1899, 12, 30)) / timedelta(days=1)
    numbers = {
        12: days, 84: 300_000, 92: 2e20, 100: alpha, 116: 25e-6, 156: 3e-10, 164: 6e-10,
        289: 75_000, 419: 0.5,
    }  # fmt: skip
    for at, value in numbers.items():
        block[at : at + 8] = np.float64(value).tobytes()
    block[297:301] = (1 << 16 | 1 << 19).to_bytes(4, "little")
    block[435:440] = b"BM-Ce"
    return bytes(block)


@pytest.mark.parametrize("kind", [b"FEI1", b"FEI2"])
def test_mrc_of_thermo_fisher_tells_each_section(tmp_path, kind):
    start = datetime(2026, 3, 1, 12, 0, 5)
    blocks = [fei_block(number * 2.0, start + timedelta(seconds=number)) for number in range(2)]
    made(
        tmp_path / "a.mrc",
        np.stack([RAMP, RAMP]).astype(np.int16),
        extended=b"".join(blocks),
        kind=kind,
    )
    for index in range(2):
        assert told(tmp_path / "a.mrc", index) == {
            "high_voltage_kV": 300.0, "stage_alpha_deg": index * 2.0, "stage_x_um": 25.0,
            "magnification": 75_000.0, "dose_rate_e_A2_s": 4.0, "detector": "BM-Ce",
        }  # fmt: skip
        frame = read_frame(tmp_path / "a.mrc", index)
        assert frame.time == start.timestamp() + index
        assert frame.time.resolution == 1
        assert (frame.pixel_size, frame.pixel_ratio) == (pytest.approx(0.3), pytest.approx(2.0))


def test_a_section_without_a_block_has_no_time_and_no_tilt(tmp_path):
    block = fei_block(4.0, datetime(2026, 3, 1))
    made(tmp_path / "a.mrc", STACK, extended=block, kind=b"FEI1")
    frame = read_frame(tmp_path / "a.mrc", 1)
    assert (frame.time, frame.metadata) == (None, {})
    assert (frame.pixel_size, frame.exposure_s) == (pytest.approx(0.3), 0.5)


def test_mrc_of_serialem_tells_each_section(tmp_path):
    # Tilt, where the piece is, stage, magnification, intensity: what the bits 1, 2, 4, 8, 16 say.
    sections = [[-6000 + 300 * n, 0, 0, n, 250, -500, 500, 99] for n in range(3)]
    blocks = np.array(sections, "<i2").tobytes()
    made(
        tmp_path / "a.mrc", np.stack([RAMP] * 3).astype(np.int16), extended=blocks, kind=b"SERI",
        at_128=np.array([16, 31], "<i2").tobytes(),
    )  # fmt: skip
    assert told(tmp_path / "a.mrc", 2) == {
        "stage_alpha_deg": -54.0, "stage_x_um": 10.0, "stage_y_um": -20.0,
        "magnification": 50_000.0,
    }  # fmt: skip


def test_mrc_with_the_old_block(tmp_path):
    block = np.zeros(32, "<f4")
    block[[0, 2, 8, 11, 12, 13]] = (12.5, 1e-4, 0.75, 4e-10, 50_000, 300_000)
    made(tmp_path / "a.mrc", RAMP.astype(np.int16), extended=block.tobytes())
    metadata = told(tmp_path / "a.mrc")
    assert metadata["stage_alpha_deg"] == 12.5
    assert metadata["stage_x_um"] == pytest.approx(100)
    assert (metadata["high_voltage_kV"], metadata["magnification"]) == (300, 50_000)


def emi(*lines):
    rows = "".join(
        f"<Data><Label>{label}</Label><Value>{value}</Value><Unit>{unit}</Unit></Data>"
        for label, value, unit in lines
    )
    inner = f"<ExperimentalDescription><Root>{rows}</Root></ExperimentalDescription>"
    return b"\0\1JK" * 50 + f"<ObjectInfo>{inner}</ObjectInfo>".encode() + b"\0" * 9


def test_ser_beside_its_emi(tmp_path):
    (tmp_path / "a b_1.ser").write_bytes(ser(RAMP[None]))
    assert told(tmp_path / "a b_1.ser") == {}
    lines = [
        ("Microscope", "Tecnai 200 kV", ""), ("High tension", "200", "kV"),
        ("Camera length", "0.490", "m"), ("Stage X", "-0.159", "um"), ("Stage A", "-0.00", "deg"),
        ("Magnification", "5500", "x"), ("Filter mode", "", ""),
    ]  # fmt: skip
    (tmp_path / "a b.emi").write_bytes(emi(*lines))
    assert told(tmp_path / "a b_1.ser") == {
        "microscope": "Tecnai 200 kV", "high_voltage_kV": 200.0, "camera_length_mm": 490.0,
        "stage_x_um": -0.159, "stage_alpha_deg": 0.0, "magnification": 5500.0,
    }  # fmt: skip
    for damaged in (b"\xff" * 100, b"<ExperimentalDescription><Root></ExperimentalDescription>"):
        (tmp_path / "a b.emi").write_bytes(damaged)
        assert told(tmp_path / "a b_1.ser") == {}


def test_an_aborted_series_tells_its_times(tmp_path):
    content = bytearray(ser(np.stack([RAMP, RAMP, RAMP])))
    content[18:22] = (2).to_bytes(4, "little")  # images that are there, of three
    (tmp_path / "a.ser").write_bytes(content)
    assert frame_count(tmp_path / "a.ser") == 2
    frames = [read_frame(tmp_path / "a.ser", index) for index in range(2)]
    assert [frame.time for frame in frames] == [1_700_000_000] * 2
    assert all(np.array_equal(frame.pixels, RAMP[::-1]) for frame in frames)


def test_a_ser_without_its_tags_is_read(tmp_path):
    content = ser(RAMP[None])
    (tmp_path / "a.ser").write_bytes(content[:-8])
    frame = read_frame(tmp_path / "a.ser")
    assert (frame.time, frame.pixel_size) == (None, pytest.approx(0.2))


def png(path, **texts):
    info = PngInfo()
    for name, value in texts.items():
        info.add_text(name.replace("_", " "), value)
    Image.fromarray(RAMP.astype(np.uint8)).save(path, pnginfo=info)
    return path


def test_text_chunks_of_a_png(tmp_path):
    path = png(
        tmp_path / "a.png", High_tension="200 kV", Stage_Alpha="-12.5 °", Dwell_Time="2 µs",
        Holder_temperature="923.15 K", Detector="HAADF", Magnification="1.5 kx", Stage_X="12",
        Comment="Stage Y 3 um",
    )  # fmt: skip
    assert told(path) == {
        "high_voltage_kV": 200.0, "stage_alpha_deg": -12.5, "dwell_us": 2.0,
        "stage_temperature_C": 650.0, "detector": "HAADF", "magnification": 1500.0,
    }  # fmt: skip


def test_a_png_of_axon_studio(tmp_path):
    text = (
        '<MicroscopeControlImageMetadata xmlns="http://example.org/a"><MicroscopeDateTime>'
        "2021-04-26T22:51:28.4539893-05:00</MicroscopeDateTime><MicroscopeSettings>"
        "<AcceleratingVoltage>200000</AcceleratingVoltage><MagnificationValue>40000"
        "</MagnificationValue></MicroscopeSettings><AuxiliaryData><AuxiliaryDataCategory><DataValues>"
        "<AuxiliaryDataValue><Name>HolderTemperature</Name><Value>699.5</Value></AuxiliaryDataValue>"
        "</DataValues></AuxiliaryDataCategory></AuxiliaryData></MicroscopeControlImageMetadata>"
    )
    path = png(tmp_path / "a.png", MicroscopeControlImage=text)
    assert told(path) == {
        "high_voltage_kV": 200.0, "magnification": 40_000.0, "stage_temperature_C": 699.5,
    }  # fmt: skip
    assert read_frame(path).time == pytest.approx(1619495488.453989, abs=1e-5)


@pytest.mark.parametrize(
    ("label", "value", "expected"),
    [
        ("Dose rate (e/A^2/s)", "12.5", {"dose_rate_e_A2_s": 12.5}),
        ("Dose Rate", "1250 e/nm²/s", {"dose_rate_e_A2_s": 12.5}),
        ("Dose_rate", "2e20 e/m2/s", {"dose_rate_e_A2_s": 2.0}),
        ("Camera length", "20 cm", {"camera_length_mm": 200.0}),
        ("stage x", "1e-6 m", {"stage_x_um": 1.0}),
        ("Stage tilt", "-0 rad", {"stage_alpha_deg": 0.0}),
        ("Stage temperature", "-300 C", {}),
        ("HV", "200", {}),
        ("HV", "-5 kV", {}),
        ("HV", "nan kV", {}),
        ("HV", "1e400 kV", {}),
        ("Magnification", "x", {}),
        ("Microscope", " none ", {}),
        ("Microscope", "a\nb" + "c" * 200, {"microscope": "a b" + "c" * 97}),
    ],
)
def test_lines_with_labels(label, value, expected):
    assert labelled([(label, value)]) == expected


def test_of_several_places_the_first_that_says_anything_counts():
    table = [("a", "high_voltage_kV", "V"), ("b", "high_voltage_kV", "V"), ("c", "detector", "")]
    assert collect({"a": 0, "b": "80000", "c": True}.get, table) == {
        "high_voltage_kV": 80.0, "detector": "True",
    }  # fmt: skip
    assert collect({"a": True, "b": []}.get, table) == {}


def test_metadata_that_is_no_metadata_costs_nothing(tmp_path):
    result = {
        "PixelSize": {"width": "2e-9", "height": "2e-9"},
        "PixelUnitX": "m",
        "PixelUnitY": "m",
    }
    odd = {"Stage": 5, "Optics": ["x"], "Detectors": None, "BinaryResult": result}
    velox(tmp_path / "a.emd", {"a": ("HAADF", RAMP, odd)})
    frame = read_frame(tmp_path / "a.emd")
    assert (frame.pixel_size, frame.metadata) == (2.0, {})
    lines = ["[User]", "Date=03/01/2026", "Time=12:00:05 AM", "[Beam]", "Beam=IRBeam", "[IRBeam]"]
    tagged(tmp_path / "a.tif", 34682, "\r\n".join([*lines, "HFW=", "VFW=1", "[Image]", ""]))
    frame = read_frame(tmp_path / "a.tif")
    assert (frame.pixel_size, frame.time) == (None, datetime(2026, 3, 1, 0, 0, 5).timestamp())
    (tmp_path / "a.ser").write_bytes(ser(RAMP[None], pixel_m=float("inf")))
    frame = read_frame(tmp_path / "a.ser")
    assert (frame.pixel_size, frame.pixel_ratio, frame.notes) == (None, 1.0, ())
