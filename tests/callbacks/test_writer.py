"""What a recoloured photo takes over from its source's file."""

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from camera_files import BLUE, GREEN, RED, WHITE, icc_profile
from PIL import ExifTags, Image, ImageCms
from PIL.TiffImagePlugin import IFDRational

from deepct import ColorTransfer
from deepct.cli import main

LINEAR = icc_profile(b"RGB ", wtpt=WHITE, rXYZ=RED, gXYZ=GREEN, bXYZ=BLUE, rTRC=1.0, gTRC=1.0, bTRC=1.0)
CAMERA, EXPOSURE, PIXELS_ACROSS, LATITUDE = 0x0110, 0x829A, 0xA002, 2


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    noise(40, 30, seed=9).save(tmp_path / "ref.png")
    return tmp_path


def noise(height: int = 20, width: int = 32, channels: int = 3, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8))


def predict(root: Path, *more: Any) -> int:
    given = ["--data.source", root / "photos", "--data.reference", root / "ref.png", "--output", root / "out"]
    fast = ["--data.num_workers", 0, "--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"]
    return main(["predict", *map(str, [*given, *fast, *more])])


def camera_exif(orientation: int = 6) -> bytes:
    """EXIF as a camera writes it, with a thumbnail and the size of the picture that lies on its side."""
    exif = Image.Exif()
    exif[0x0112], exif[CAMERA] = orientation, "Tester"
    exif[ExifTags.IFD.Exif] = {EXPOSURE: IFDRational(1, 50), PIXELS_ACROSS: 32, 0xA001: 65535}
    exif[ExifTags.IFD.GPSInfo] = {1: "N", LATITUDE: (48.0, 8.0, 0.0)}
    thumbnail = b"\xff\xd8 thumbnail \xff\xd9"
    body = exif.tobytes()
    # Pillow writes no second directory: chain one to the first, whose entries are counted at its start.
    endian = "little" if body[6:8] == b"II" else "big"
    count = int.from_bytes(body[14:16], endian)
    link, start = 16 + 12 * count, len(body) - 6

    def number(value: int, size: int) -> bytes:
        return value.to_bytes(size, endian)

    entries = ((0x0201, start + 30), (0x0202, len(thumbnail)))
    second = number(2, 2) + b"".join(number(t, 2) + number(4, 2) + number(1, 4) + number(v, 4) for t, v in entries)
    return body[:link] + number(start, 4) + body[link + 4 :] + second + number(0, 4) + thumbnail


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
@pytest.mark.parametrize("format", ["png", "jpg"])
@pytest.mark.parametrize("depth", [8, 16])
def test_exif_resolution_and_profile_go_with_the_photo(root: Path, suffix: str, format: str, depth: int) -> None:
    if (format, depth) == ("jpg", 16):
        pytest.skip("JPEG has 8 bits")
    noise().save(root / "photos" / f"a.{suffix}", exif=camera_exif(), dpi=(300, 150), icc_profile=LINEAR)
    assert predict(root, "--writer.format", format, "--writer.depth", depth) == 0
    with Image.open(root / "out" / f"a__ref.{format}") as image:
        assert image.size == (20, 32)
        exif, raw = image.getexif(), image.info["exif"]
        assert exif[CAMERA] == "Tester"
        assert float(exif.get_ifd(ExifTags.IFD.Exif)[EXPOSURE]) == 0.02
        assert exif.get_ifd(ExifTags.IFD.GPSInfo)[LATITUDE] == (48.0, 8.0, 0.0)
        assert 0x0112 not in exif
        assert PIXELS_ACROSS not in exif.get_ifd(ExifTags.IFD.Exif)
        assert exif.get_ifd(ExifTags.IFD.Exif)[0xA001] == 1
        assert not exif.get_ifd(ExifTags.IFD.IFD1)
        assert b"thumbnail" not in raw
        if suffix != "webp":  # which has no resolution of its own
            assert image.info["dpi"] == pytest.approx((150, 300), abs=0.1)  # it was turned
        profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        assert "sRGB" in ImageCms.getProfileDescription(profile)


def test_the_thumbnail_is_there_to_be_dropped(root: Path) -> None:
    noise().save(root / "a.jpg", exif=camera_exif())
    with Image.open(root / "a.jpg") as image:
        assert image.getexif().get_ifd(ExifTags.IFD.IFD1)


def test_a_photo_that_says_nothing_gets_nothing(root: Path) -> None:
    noise().save(root / "photos" / "a.png")
    assert predict(root) == 0
    with Image.open(root / "out" / "a__ref.png") as image:
        assert not {"icc_profile", "exif", "dpi"} & set(image.info)


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_transparency_is_kept(root: Path, suffix: str, depth: int) -> None:
    source = noise(channels=4)
    source.save(root / "photos" / f"a.{suffix}", lossless=True, exif=_turned())
    assert predict(root, "--writer.depth", depth) == 0
    with Image.open(root / "out" / "a__ref.png") as image:
        assert image.mode == "RGBA"
        expected = np.rot90(np.asarray(source.getchannel("A")), -1)
        np.testing.assert_array_equal(np.asarray(image.getchannel("A")), expected)


def _turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def test_colours_that_nobody_sees_change_nothing(root: Path) -> None:
    """Half a photo, beside nothing in two colours."""
    results = []
    for hidden in (0, 255):
        pixels = np.array(noise(channels=4))
        pixels[..., 3] = 255
        pixels[:, 16:] = (hidden, hidden, hidden, 0)
        Image.fromarray(pixels).save(root / "photos" / "a.png")
        assert predict(root) == 0
        results.append(np.asarray(Image.open(root / "out" / "a__ref.png"))[:, :16])
    np.testing.assert_array_equal(*results)


def test_transparency_becomes_white_in_a_jpeg(root: Path) -> None:
    Image.new("RGBA", (32, 32), (0, 0, 0, 0)).save(root / "photos" / "a.png")
    assert predict(root, "--writer.format", "jpg") == 0
    assert np.asarray(Image.open(root / "out" / "a__ref.jpg")).min() > 250


def test_quality_and_subsampling_are_flags(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    noise(96, 96).save(root / "photos" / "a.png")
    sizes = []
    for subsampling, blocks in ((444, (1, 1)), (422, (2, 1)), (420, (2, 2))):
        assert predict(root, "--writer.format", "jpg", "--writer.subsampling", subsampling) == 0
        with Image.open(root / "out" / "a__ref.jpg") as image:
            assert image.layer[0][1:3] == blocks
        sizes.append((root / "out" / "a__ref.jpg").stat().st_size)
    assert predict(root, "--writer.format", "jpg", "--writer.quality", 20) == 0
    sizes.append((root / "out" / "a__ref.jpg").stat().st_size)
    assert sizes == sorted(sizes, reverse=True)
    for flags, message in (
        (["--writer.quality", 0], "writer.quality is from 1 to 100, got 0"),
        (["--writer.quality", 101], "writer.quality is from 1 to 100, got 101"),
        (["--writer.depth", 16, "--writer.format", "jpg"], "JPEG has 8 bits a channel"),
    ):
        assert predict(root, *flags) == 2
        assert message in capsys.readouterr().err


def ramp(path: Path) -> np.ndarray:
    """A gradient of 4096 levels, 16 bits a channel."""
    line = np.linspace(10000, 50000, 4096).round().astype(np.uint16)
    pixels = np.stack([line, line // 2 + 9000, line[::-1]], -1)[None].repeat(8, 0)
    assert cv2.imwrite(str(path), pixels[..., ::-1])
    return pixels


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bits_in_are_16_bits_out(root: Path, suffix: str) -> None:
    ramp(root / "photos" / f"a.{suffix}")
    noise(3, 4).resize((256, 256), Image.Resampling.BICUBIC).save(root / "ref.png")
    assert predict(root, "--writer.depth", 16) == 0
    deep = cv2.imread(str(root / "out" / "a__ref.png"), cv2.IMREAD_UNCHANGED)
    assert deep.dtype == np.uint16
    for channel in range(3):
        assert len(np.unique(deep[..., channel])) > 2000
        steps = np.abs(np.diff(deep[0, :, channel].astype(int)))
        assert steps.max() < 128  # less than half a code of 8 bits: no stairs
    assert predict(root, "--writer.depth", 16, "--model.strength", 0) == 0
    same = cv2.imread(str(root / "out" / "a__ref.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(same, cv2.imread(str(root / "photos" / f"a.{suffix}"), cv2.IMREAD_UNCHANGED))


def test_8_bits_in_give_the_same_at_16_but_for_the_rounding(root: Path) -> None:
    noise().save(root / "photos" / "a.png")
    results = {}
    for depth in (8, 16):
        assert predict(root, "--writer.depth", depth) == 0
        results[depth] = cv2.imread(str(root / "out" / "a__ref.png"), cv2.IMREAD_UNCHANGED).astype(float)
    assert np.abs(results[16] / 257 - results[8]).max() < 0.51
    assert len(np.unique(results[16] % 257)) > 100  # finer than 8 bits


def test_deep_pngs_are_written_in_bands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from deepct.data.deep_png import write_deep_png

    pixels = np.random.default_rng(0).integers(0, 65536, (50, 20, 4)).astype(np.uint16)
    monkeypatch.setattr("deepct.data.deep_png._BAND", 7 * 20)
    write_deep_png(tmp_path / "a.png", pixels[..., :3], pixels[..., 3])
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED), pixels[..., [2, 1, 0, 3]])


def test_python_keeps_transparency_and_metadata(root: Path) -> None:
    source = noise(channels=4)
    source.save(root / "a.png", exif=camera_exif(), dpi=(300, 150), icc_profile=LINEAR)
    transfer = ColorTransfer.load()
    with Image.open(root / "a.png") as image:
        result = transfer.transfer(image, noise(40, 30, seed=9))
    assert (result.mode, result.size) == ("RGBA", (20, 32))
    np.testing.assert_array_equal(np.asarray(result)[..., 3], np.rot90(np.asarray(source)[..., 3], -1))
    assert result.getexif()[CAMERA] == "Tester"
    assert 0x0112 not in result.getexif()
    assert result.info["dpi"] == pytest.approx((150, 300), abs=0.1)
    result.save(root / "b.png")
    with Image.open(root / "b.png") as image:
        assert "sRGB" in ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"])))
