"""Photos as cameras, editors and broken disks leave them."""

import contextlib
import io
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from camera_files import BLUE, GREEN, RED, WHITE, icc_profile
from numpy.typing import NDArray
from PIL import Image, ImageCms

from deepct.data.image import list_photos, photo_size, read_photo
from deepct.errors import DataError, ImageError

LOSSLESS: list[tuple[str, dict[str, Any]]] = [
    ("png", {}),
    ("webp", {"lossless": True}),
    ("tif", {}),
    ("tiff", {"compression": "tiff_lzw"}),
]
ORIENTATIONS = range(1, 9)


def noise(height: int = 6, width: int = 9, channels: int = 3, dtype: Any = np.uint8) -> NDArray[Any]:
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(height * width).integers(0, np.iinfo(dtype).max + 1, shape, dtype=dtype)


def smooth(height: int, width: int) -> NDArray[np.uint8]:
    coarse = Image.fromarray(noise(4, 5))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))


def rounded(deep: NDArray[np.uint16]) -> NDArray[np.uint8]:
    return np.floor(deep / 257.0 + 0.5).astype(np.uint8)


def upright(stored: NDArray[Any], orientation: int) -> NDArray[Any]:
    """The EXIF standard read literally: which corner of the stored picture is top left."""
    height, width = stored.shape[:2]
    turned = orientation >= 5
    out = np.empty((width, height, *stored.shape[2:]) if turned else stored.shape, stored.dtype)
    for row in range(height):
        for column in range(width):
            bottom, right = height - 1 - row, width - 1 - column
            place = {
                1: (row, column),
                2: (row, right),
                3: (bottom, right),
                4: (bottom, column),
                5: (column, row),
                6: (column, bottom),
                7: (right, bottom),
                8: (right, row),
            }[orientation]
            out[place] = stored[row, column]
    return out


def orientation_tag(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def linear_light_with_red_and_green_exchanged() -> bytes:
    return icc_profile(b"RGB ", wtpt=WHITE, rXYZ=GREEN, gXYZ=RED, bXYZ=BLUE, rTRC=1.0, gTRC=1.0, bTRC=1.0)


def encode_srgb(levels: NDArray[np.uint8], gamma: float = 1.0) -> NDArray[np.float64]:
    linear = (levels / 255.0) ** gamma
    return 255.0 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize(("suffix", "options"), LOSSLESS)
def test_lossless_formats_come_back_exact(tmp_path: Path, suffix: str, options: dict[str, Any]) -> None:
    photo = noise()
    path = tmp_path / f"photo.{suffix}"
    Image.fromarray(photo).save(path, **options)
    read = read_photo(path)
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, photo)
    assert photo_size(path) == (6, 9)


def test_a_jpeg_comes_back_close(tmp_path: Path) -> None:
    photo = smooth(60, 90)
    path = tmp_path / "photo.JPG"
    Image.fromarray(photo).save(path, quality=95, subsampling=0)
    read = read_photo(path)
    assert read.shape == (60, 90, 3)
    assert np.abs(read.astype(int) - photo).max() < 16


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_16_bits_are_rounded_to_8(tmp_path: Path, suffix: str, channels: int) -> None:
    deep = noise(40, 50, channels, np.uint16)
    deep[0, :6] = np.array([0, 128, 129, 65406, 65407, 65535]).reshape(6, *[1] * (channels > 1))
    path = tmp_path / f"deep.{suffix}"
    assert cv2.imwrite(str(path), deep if channels == 1 else deep[..., [2, 1, 0, 3][:channels]])
    expected = np.dstack([rounded(deep)] * 3) if channels == 1 else rounded(deep)[..., :3]
    np.testing.assert_array_equal(read_photo(path), expected)
    assert photo_size(path) == (40, 50)


def test_16_bit_big_endian_tiff(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    deep = noise(dtype=np.uint16)
    tifffile.imwrite(tmp_path / "deep.tif", deep, photometric="rgb", byteorder=">")
    np.testing.assert_array_equal(read_photo(tmp_path / "deep.tif"), rounded(deep))


def test_16_bit_planar_tiff_is_right_or_refused(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    deep = noise(dtype=np.uint16)
    path = tmp_path / "planar.tif"
    tifffile.imwrite(path, np.ascontiguousarray(deep.transpose(2, 0, 1)), photometric="rgb", planarconfig="separate")
    with contextlib.suppress(ImageError):
        np.testing.assert_array_equal(read_photo(path), rounded(deep))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_tiff_whose_zero_is_white_is_no_negative(tmp_path: Path, dtype: Any) -> None:
    tifffile = pytest.importorskip("tifffile")
    top = np.iinfo(dtype).max
    tifffile.imwrite(tmp_path / "scan.tif", np.full((4, 5), top // 5, dtype), photometric="miniswhite")
    np.testing.assert_array_equal(read_photo(tmp_path / "scan.tif"), np.full((4, 5, 3), 204, np.uint8))


def _deep_grey() -> Image.Image:
    return Image.fromarray(noise(channels=1, dtype=np.uint16))


STORED: list[tuple[str, Callable[[], Image.Image], dict[str, Any]]] = [
    ("jpg", lambda: Image.fromarray(smooth(21, 34)), {"quality": 95}),
    *[(suffix, lambda: Image.fromarray(noise()), options) for suffix, options in LOSSLESS],
    ("png", _deep_grey, {}),
    ("tif", _deep_grey, {}),
]


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize(
    ("suffix", "make", "options"), STORED, ids=["jpg", "png", "webp", "tif", "tif-lzw", "png16", "tif16"]
)
def test_exif_orientation_is_applied_once(
    tmp_path: Path, suffix: str, make: Callable[[], Image.Image], options: dict[str, Any], orientation: int
) -> None:
    plain, tagged = tmp_path / f"plain.{suffix}", tmp_path / f"tagged.{suffix}"
    make().save(plain, **options)
    make().save(tagged, exif=orientation_tag(orientation), **options)
    expected = upright(read_photo(plain), orientation)
    assert photo_size(tagged) == expected.shape[:2]
    np.testing.assert_array_equal(read_photo(tagged), expected)


def test_an_unknown_orientation_is_taken_as_upright(tmp_path: Path) -> None:
    photo = noise()
    Image.fromarray(photo).save(tmp_path / "odd.png", exif=orientation_tag(9))
    np.testing.assert_array_equal(read_photo(tmp_path / "odd.png"), photo)
    assert photo_size(tmp_path / "odd.png") == (6, 9)


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_an_icc_profile_is_converted_to_srgb(tmp_path: Path, suffix: str) -> None:
    photo = noise(20, 30)
    path = tmp_path / f"linear.{suffix}"
    profile = linear_light_with_red_and_green_exchanged()
    Image.fromarray(photo).save(path, icc_profile=profile, **({"lossless": True} if suffix == "webp" else {}))
    assert np.abs(read_photo(path) - encode_srgb(photo)[..., [1, 0, 2]]).max() < 2.0


def test_an_icc_conversion_agrees_with_imagecms(tmp_path: Path) -> None:
    profile = linear_light_with_red_and_green_exchanged()
    Image.fromarray(smooth(40, 60)).save(tmp_path / "photo.jpg", icc_profile=profile, quality=95)
    with Image.open(tmp_path / "photo.jpg") as image:
        expected = ImageCms.profileToProfile(
            image,
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
        )
    assert expected is not None
    assert np.abs(read_photo(tmp_path / "photo.jpg").astype(int) - np.asarray(expected)).max() <= 1


def test_an_icc_profile_of_a_16_bit_photo_is_converted(tmp_path: Path) -> None:
    deep = noise(20, 30, 1, np.uint16)
    profile = icc_profile(b"GRAY", wtpt=WHITE, kTRC=1.5)
    Image.fromarray(deep).save(tmp_path / "deep.png", icc_profile=profile)
    read = read_photo(tmp_path / "deep.png")
    assert np.abs(read - encode_srgb(rounded(deep), 1.5)[..., None]).max() < 2.0


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_a_grey_icc_profile_is_converted(tmp_path: Path, mode: str, caplog: pytest.LogCaptureFixture) -> None:
    grey = noise(20, 30, 1)
    picture = Image.fromarray(grey).convert(mode)
    picture.save(tmp_path / "grey.png", icc_profile=icc_profile(b"GRAY", wtpt=WHITE, kTRC=1.5))
    read = read_photo(tmp_path / "grey.png")
    assert not caplog.records
    assert np.abs(read - encode_srgb(grey, 1.5)[..., None]).max() < 2.0


def test_white_stays_white_though_the_profiles_white_is_warm(tmp_path: Path) -> None:
    warm = (1.0985, 1.0, 0.3558)
    profile = icc_profile(b"RGB ", wtpt=warm, rXYZ=RED, gXYZ=GREEN, bXYZ=BLUE, rTRC=1.0, gTRC=1.0, bTRC=1.0)
    Image.new("RGB", (4, 3), (255, 255, 255)).save(tmp_path / "white.png", icc_profile=profile)
    assert read_photo(tmp_path / "white.png").min() >= 254


def test_an_srgb_profile_changes_nothing(tmp_path: Path) -> None:
    photo = noise(20, 30)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(photo).save(tmp_path / "photo.png", icc_profile=profile)
    np.testing.assert_array_equal(read_photo(tmp_path / "photo.png"), photo)


def test_a_broken_profile_is_named_in_a_warning_and_taken_as_srgb(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    photo = noise()
    Image.fromarray(photo).save(tmp_path / "broken.png", icc_profile=b"no profile at all")
    with caplog.at_level(logging.WARNING):
        read = read_photo(tmp_path / "broken.png")
    np.testing.assert_array_equal(read, photo)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "broken.png" in caplog.text
    assert "sRGB" in caplog.text


@pytest.mark.parametrize("suffix", ["tif", "jpg"])
def test_cmyk_inks_become_their_colours(tmp_path: Path, suffix: str) -> None:
    inks = np.zeros((16, 32, 4), np.uint8)
    inks[:, :16, 0] = 255  # cyan
    inks[:, 16:, 3] = 255  # black
    Image.fromarray(inks, "CMYK").save(tmp_path / f"print.{suffix}", quality=100)
    read = read_photo(tmp_path / f"print.{suffix}").astype(int)
    assert np.abs(read[:, :8] - (0, 255, 255)).max() <= 3
    assert read[:, 24:].max() <= 3


def test_a_palette_becomes_its_colours(tmp_path: Path) -> None:
    photo = np.array([[[255, 0, 0], [0, 128, 0]], [[0, 0, 255], [7, 8, 9]]], np.uint8)
    Image.fromarray(photo).quantize(4, dither=Image.Dither.NONE).save(tmp_path / "palette.png")
    with Image.open(tmp_path / "palette.png") as image:
        assert image.mode == "P"
    np.testing.assert_array_equal(read_photo(tmp_path / "palette.png"), photo)


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_grey_becomes_three_equal_channels(tmp_path: Path, suffix: str) -> None:
    grey = noise(channels=1)
    options = {"lossless": True} if suffix == "webp" else {}
    Image.fromarray(grey).save(tmp_path / f"grey.{suffix}", **options)
    np.testing.assert_array_equal(read_photo(tmp_path / f"grey.{suffix}"), np.dstack([grey] * 3))


def test_black_and_white_becomes_0_and_255(tmp_path: Path) -> None:
    Image.fromarray(np.eye(5, dtype=bool)).save(tmp_path / "scan.png")
    np.testing.assert_array_equal(read_photo(tmp_path / "scan.png"), np.dstack([255 * np.eye(5, dtype=np.uint8)] * 3))


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_transparency_is_dropped_and_the_colours_stay(tmp_path: Path, suffix: str) -> None:
    photo = noise(channels=4)
    photo[..., 3] = 0
    Image.fromarray(photo).save(tmp_path / f"alpha.{suffix}")
    np.testing.assert_array_equal(read_photo(tmp_path / f"alpha.{suffix}"), photo[..., :3])


def _cut_in_half(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


@pytest.mark.parametrize(("suffix", "options"), [("jpg", {}), *LOSSLESS])
def test_a_truncated_file_is_refused_by_name(tmp_path: Path, suffix: str, options: dict[str, Any]) -> None:
    path = tmp_path / f"cut.{suffix}"
    Image.fromarray(noise(80, 90)).save(path, **options)
    _cut_in_half(path)
    with pytest.raises(ImageError, match=rf"cut\.{suffix}: cannot be read as a photo.*save it again"):
        read_photo(path)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_a_truncated_16_bit_file_is_refused_by_name(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"cut.{suffix}"
    assert cv2.imwrite(str(path), noise(80, 90, 3, np.uint16))
    _cut_in_half(path)
    with pytest.raises(ImageError, match=rf"cut\.{suffix}: cannot be read as a photo"):
        read_photo(path)


@pytest.mark.parametrize("read", [read_photo, photo_size])
@pytest.mark.parametrize("content", [b"", b"Dear diary, this is not a photo.\n" * 20], ids=["zero bytes", "text"])
@pytest.mark.parametrize("name", ["no photo.jpg", "no photo.png", "no photo.tif"])
def test_what_is_no_photo_is_refused_by_name(
    tmp_path: Path, read: Callable[[Path], Any], content: bytes, name: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImageError) as caught:
        read(tmp_path / name)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / name}: ")
    assert message.count(name) == 1
    assert "take it away" in message


@pytest.mark.parametrize("read", [read_photo, photo_size])
def test_a_file_that_is_not_there_is_an_image_error(tmp_path: Path, read: Callable[[Path], Any]) -> None:
    with pytest.raises(ImageError, match=r"gone\.jpg: .*No such file"):
        read(tmp_path / "gone.jpg")


@pytest.mark.parametrize("mode", ["F", "I"])
def test_32_bits_a_channel_are_refused_with_advice(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (9, 6)).save(tmp_path / "hdr.tif")
    with pytest.raises(ImageError, match=r"hdr\.tif: .*32 bits a channel; save it with 8 or 16"):
        read_photo(tmp_path / "hdr.tif")


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_the_header_alone_gives_the_size(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"cut.{suffix}"
    Image.fromarray(noise(80, 90)).save(path)
    _cut_in_half(path)
    assert photo_size(path) == (80, 90)


@pytest.mark.parametrize("reduce", [1, 2, 4, 8])
@pytest.mark.parametrize("size", [(160, 240), (163, 241)])
def test_a_jpeg_is_decoded_at_a_fraction(tmp_path: Path, reduce: int, size: tuple[int, int]) -> None:
    path = tmp_path / "big.jpg"
    Image.fromarray(smooth(*size)).save(path, quality=95)
    height, width = (-(-side // reduce) for side in size)
    read = read_photo(path, reduce)
    assert read.shape == (height, width, 3)
    means = Image.fromarray(read_photo(path)).reduce(reduce)
    assert np.abs(read.astype(int) - np.asarray(means)).mean() < 3.0


def test_a_reduced_jpeg_is_turned_too(tmp_path: Path) -> None:
    path = tmp_path / "big.jpg"
    Image.fromarray(smooth(160, 240)).save(path, exif=orientation_tag(6))
    assert read_photo(path, 4).shape == (60, 40, 3)


def test_other_formats_are_averaged_down(tmp_path: Path) -> None:
    photo = noise(32, 48)
    Image.fromarray(photo).save(tmp_path / "photo.png")
    expected = photo.reshape(8, 4, 12, 4, 3).mean((1, 3))
    assert np.abs(read_photo(tmp_path / "photo.png", 4) - expected).max() <= 1


def test_a_folder_is_listed_by_name_photos_only(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.png", "c.webp", "d.tif", "e.TIFF", "f.jpeg", ".hidden.jpg", "notes.txt", "labels.npy"):
        (tmp_path / name).touch()
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "g.jpg").touch()
    assert [path.name for path in list_photos(tmp_path)] == ["a.png", "b.JPG", "c.webp", "d.tif", "e.TIFF", "f.jpeg"]


def test_a_folder_without_photos_says_what_it_holds_and_what_it_should(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DataError) as caught:
        list_photos(tmp_path)
    for part in (str(tmp_path), "1 entries", "jpg", "png", "webp", "tif"):
        assert part in str(caught.value)


def test_an_empty_folder_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no photo found among 0 entries"):
        list_photos(tmp_path)


def test_a_missing_folder_is_a_data_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: there is no such folder"):
        list_photos(tmp_path / "nowhere")


def test_reading_leaves_no_file_open(tmp_path: Path) -> None:
    Image.fromarray(noise()).save(tmp_path / "photo.tif")
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        read_photo(tmp_path / "photo.tif")
        photo_size(tmp_path / "photo.tif")


def test_large_panoramas_are_no_decompression_bombs(tmp_path: Path) -> None:
    """200 megapixels, of which Pillow alone would refuse to read the header."""
    path = tmp_path / "panorama.png"
    Image.new("1", (20000, 10000)).save(path)
    assert photo_size(path) == (10000, 20000)


def test_a_png_whose_exif_follows_its_pixels_has_the_size_that_is_read(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = io.BytesIO()
    Image.new("RGB", (50, 30)).save(data, "PNG", exif=exif)
    chunks, position = [], 8
    while position < len(data.getvalue()):
        length = int.from_bytes(data.getvalue()[position : position + 4])
        chunks.append(data.getvalue()[position : position + 12 + length])
        position += 12 + length
    late = [chunk for chunk in chunks if chunk[4:8] == b"eXIf"]
    assert late
    order = [chunk for chunk in chunks if chunk[4:8] != b"eXIf"]
    (tmp_path / "late.png").write_bytes(data.getvalue()[:8] + b"".join([*order[:-1], *late, order[-1]]))
    assert photo_size(tmp_path / "late.png") == (50, 30) == read_photo(tmp_path / "late.png").shape[:2]
