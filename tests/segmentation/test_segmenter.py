"""Label maps are those of MMSegmentation itself."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from official_beit import TINY, official_state, write_official
from PIL import Image
from torch.nn import functional as F

from deepct.data.image import find_reduction, to_planes
from deepct.errors import CheckpointError, ConfigError, DeepctError
from deepct.segmentation.architecture import beit_config, find_architecture
from deepct.segmentation.checkpoint import load_strictly, read_checkpoint
from deepct.segmentation.resize import limit_size, resize_photo, scale_size
from deepct.segmentation.windows import label_windows, place_windows

pytest.importorskip("mmseg", reason="needs deepct[masks]")

from deepct.segmentation import Segmenter
from deepct.segmentation.attention import FusedAttention
from deepct.segmentation.backend import build_network, read_config

FCN = """
model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(
        type="SegDataPreProcessor", mean=[120.0, 110.0, 100.0], std=[50.0, 60.0, 70.0], bgr_to_rgb={rgb},
        size_divisor=32, test_cfg=dict(size_divisor=32)),
    backbone=dict(
        type="ResNetV1c", depth=18, num_stages=4, base_channels=8, out_indices=(0, 1, 2, 3), style="pytorch",
        init_cfg=dict(type="Pretrained", checkpoint="nowhere.pth"), norm_cfg=dict(type="SyncBN")),
    decode_head=dict(
        type="FCNHead", in_channels=16, in_index=1, channels=16, num_classes={classes}, norm_cfg=dict(type="SyncBN"),
        align_corners={align}, loss_decode=dict(type="CrossEntropyLoss")),
    train_cfg=dict(),
    test_cfg={test})
test_pipeline = [dict(type="LoadImageFromFile"), dict(type="Resize", scale={scale}, keep_ratio=True),
    dict(type="LoadAnnotations"), dict(type="PackSegInputs")]
test_dataloader = dict(dataset=dict(type="{dataset}"))
"""


def photo(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    grains = np.random.default_rng(seed).integers(0, 256, (height // 8 + 2, width // 8 + 2, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(grains).resize((width, height), Image.Resampling.BICUBIC))


def save(pixels: NDArray[np.uint8], path: Path) -> Path:
    Image.fromarray(pixels).save(path)
    return path


def reference_model(checkpoint: Path, config: Path | None = None) -> Any:
    """MMSegmentation's own, for its ``inference_model``."""
    from mmengine import Config

    weights = read_checkpoint(checkpoint)
    if config is None:
        beit = find_architecture(weights)
        model = build_network(beit_config(beit))
        resize = {"type": "Resize", "scale": beit.scale, "keep_ratio": True}
        model.cfg = Config({"test_pipeline": [{"type": "LoadImageFromFile"}, resize, {"type": "PackSegInputs"}]})
    else:
        model = build_network(read_config(config).model)
        model.cfg = Config.fromfile(config)
    load_strictly(model, weights)
    return model


def reference_logits(model: Any, path: Path) -> NDArray[np.float32]:
    """(classes, h, w) at the network's size, by MMSegmentation's pipeline, preprocessor and inference."""
    from mmengine.dataset import Compose
    from mmengine.registry import DefaultScope

    steps = [step for step in model.cfg.test_pipeline if step["type"] != "LoadAnnotations"]
    with DefaultScope.overwrite_default_scope("mmseg"):
        data = Compose(steps)({"img_path": str(path)})
    batch = model.data_preprocessor({"inputs": [data["inputs"]], "data_samples": [data["data_samples"]]}, False)
    height, width = data["inputs"].shape[1:]
    shape = tuple(batch["inputs"].shape[2:])
    with torch.no_grad():
        logits = model.inference(batch["inputs"], [{"ori_shape": shape, "img_shape": shape, "pad_shape": shape}])
    return logits[0, :, :height, :width].numpy()


def check_labels(labels: NDArray[np.uint8], logits: NDArray[np.float32]) -> None:
    """Each label has the largest logit, or one that rounding could have made the largest."""
    assert labels.shape == logits.shape[1:]
    assert len(np.unique(labels)) > 3  # else any map would do
    chosen = np.take_along_axis(logits, labels[None].astype(int), 0)[0]
    assert (logits.max(0) - chosen).max() < 1e-4
    assert (labels == logits.argmax(0)).mean() > 0.999


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_official(tmp_path_factory.mktemp("tiny") / "tiny.pth")


SIZES = [(64, 64), (64, 96), (130, 64), (64, 250), (40, 70), (100, 150), (20, 210), (300, 25)]


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_label_maps_are_mmsegmentations(tmp_path: Path, tiny: Path, height: int, width: int) -> None:
    """The last two have aspect ratios over 4, at which a side is shorter than a window."""
    pixels = photo(height, width)
    path = save(pixels, tmp_path / "photo.png")
    segmenter = Segmenter.load(tiny)
    labels = segmenter.segment(to_planes(pixels))[0].numpy()
    assert labels.shape == segmenter.network_size((height, width))
    check_labels(labels, reference_logits(reference_model(tiny), path))


@pytest.mark.parametrize(("height", "width"), [(64, 64), (64, 96), (130, 64), (64, 250)])
def test_label_maps_are_those_of_inference_model(tmp_path: Path, tiny: Path, height: int, width: int) -> None:
    """Of photos that have the network's size, to which MMSegmentation would otherwise enlarge its logits."""
    from mmengine.registry import DefaultScope
    from mmseg.apis import inference_model

    pixels = photo(height, width)
    path = save(pixels, tmp_path / "photo.png")
    with DefaultScope.overwrite_default_scope("mmseg"):
        result = inference_model(reference_model(tiny), str(path))
    labels = Segmenter.load(tiny).segment(to_planes(pixels))[0].numpy()
    check_labels(labels, result.seg_logits.data.numpy())
    assert (labels == result.pred_sem_seg.data[0].numpy()).mean() > 0.999


def test_without_padding_mmsegmentation_itself_fails_on_long_photos(tmp_path: Path, tiny: Path) -> None:
    """The trap that the padding is for."""
    model = reference_model(tiny)
    model.data_preprocessor.test_cfg = None
    with pytest.raises(RuntimeError):
        reference_logits(model, save(photo(20, 210), tmp_path / "long.png"))


def test_photos_of_one_size_are_labelled_together(tiny: Path) -> None:
    segmenter = Segmenter.load(tiny)
    photos = torch.stack([to_planes(photo(100, 150, seed)) for seed in range(3)])
    together = segmenter.segment(photos)
    assert together.dtype == torch.uint8
    alone = torch.cat([segmenter.segment(one) for one in photos])
    assert (together == alone).float().mean() > 0.999
    assert not torch.equal(together[0], together[1])


def test_the_fused_attention_is_beits() -> None:
    from mmseg.models.backbones.beit import BEiTAttention

    torch.manual_seed(0)
    for bias in ("qv_bias", True):
        attention = BEiTAttention(24, 3, (4, 4), bias=bias)
        for parameter in attention.parameters():
            torch.nn.init.normal_(parameter)
        tokens = torch.randn(2, 17, 24)
        torch.testing.assert_close(FusedAttention(attention)(tokens), attention(tokens), rtol=1e-4, atol=1e-4)


def test_what_only_training_needs_is_dropped(tiny: Path) -> None:
    names = [name for name, _ in Segmenter.load(tiny).named_modules()]
    assert not [name for name in names if "auxiliary" in name]
    assert [name for name in names if "decode_head" in name]


@pytest.mark.parametrize(
    ("test", "align", "rgb", "scale"),
    [
        ("dict(mode='whole')", False, True, (256, 64)),
        ("dict(mode='whole')", True, False, (300, 90)),
        ("dict(mode='slide', crop_size=(64, 64), stride=(40, 40))", False, True, (256, 70)),
    ],
)
def test_another_model_by_its_configuration(
    tmp_path: Path, test: str, align: bool, rgb: bool, scale: tuple[int, int]
) -> None:
    config = tmp_path / "fcn.py"
    config.write_text(FCN.format(test=test, align=align, rgb=rgb, scale=scale, classes=19, dataset="CityscapesDataset"))
    torch.manual_seed(0)
    network = build_network(read_config(config).model)
    for parameter in network.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=2 * parameter[0].numel() ** -0.5)
    torch.save({"state_dict": network.state_dict()}, tmp_path / "fcn.pth")
    segmenter = Segmenter.load(tmp_path / "fcn.pth", config)
    assert segmenter.description.model == "fcn"
    assert segmenter.description.classes[:3] == ["road", "sidewalk", "building"]
    assert segmenter.description.palette[0] == [128, 64, 128]
    pixels = photo(100, 150)
    model = reference_model(tmp_path / "fcn.pth", config)
    logits = reference_logits(model, save(pixels, tmp_path / "photo.png"))
    check_labels(segmenter.segment(to_planes(pixels))[0].numpy(), logits)


def test_configurations_that_cannot_be_used_are_named(tmp_path: Path, tiny: Path) -> None:
    config = tmp_path / "bad.py"
    text = FCN.format(test="dict(mode='whole')", align=False, rgb=True, scale=(256, 64), classes=150, dataset="")
    for change, message in (
        (("model", "modell"), "has no model"),
        (("test_pipeline = [", "test_pipeline = [dict(type='RandomFlip'), "), "has RandomFlip, Resize where"),
        (("FCNHead", "NoHead"), "MMSegmentation cannot build the model: KeyError"),
        (("model = dict(", "model = dict(("), "cannot be read as a configuration"),
    ):
        config.write_text(text.replace(*change, 1))
        with pytest.raises(ConfigError, match=message):
            Segmenter.load(tiny, config)
    config.write_text(text)
    with pytest.raises(CheckpointError, match="does not fit the model"):
        Segmenter.load(tiny, config)


def test_weights_for_512_px_do_not_load_by_a_configuration_for_640(tmp_path: Path, tiny: Path) -> None:
    wide = write_official(tmp_path / "wide.pth", window=80)
    config = tmp_path / "wide.py"
    pipeline = [{"type": "Resize", "scale": (320, 80), "keep_ratio": True}]
    config.write_text(
        f"model = {beit_config(find_architecture(read_checkpoint(wide)))!r}\ntest_pipeline = {pipeline!r}"
    )
    assert Segmenter.load(wide, config).network_size((100, 200)) == (80, 160)
    with pytest.raises(CheckpointError, match="is for windows of 64 px, the model for 80: leave --config out"):
        Segmenter.load(tiny, config)


def test_more_classes_than_a_label_map_holds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="has 151 classes"):
        Segmenter.load(write_official(tmp_path / "many.pth", classes=151))


def test_classes_without_names_have_numbers(tmp_path: Path) -> None:
    state = official_state(**(TINY | {"classes": 3}))
    torch.save({"state_dict": state}, tmp_path / "few.pth")
    assert Segmenter.load(tmp_path / "few.pth").description.classes == ["0", "1", "2"]
    meta = {"CLASSES": ("a", "b ", "c"), "PALETTE": [[1, 2, 3]] * 3}
    torch.save({"state_dict": state, "meta": meta}, tmp_path / "named.pth")
    assert Segmenter.load(tmp_path / "named.pth").description.classes == ["a", "b", "c"]


def test_without_the_extra_the_message_says_what_to_install(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deepct.segmentation.backend.find_spec", lambda name: None if name == "mmcv" else object())
    with pytest.raises(DeepctError, match=r"\(mmcv\): pip install 'deepct\[masks\]'.*onedl-mmsegmentation"):
        Segmenter.load(tiny)


# Sizes and windows


def test_sizes_are_mmcvs() -> None:
    import mmcv

    for size in [(321, 481), (480, 640), (3000, 2000), (512, 512), (100, 5000), (333, 1000)]:
        width, height = mmcv.rescale_size(size[::-1], (2048, 512))
        assert scale_size(size, (2048, 512)) == (height, width)
    assert scale_size((321, 481), (300, 200), keep_ratio=False) == (200, 300)


def test_label_maps_keep_the_photos_aspect() -> None:
    rng = np.random.default_rng(0)
    for height, width in [(4000, 6000), (6000, 4000), (50, 9000), *rng.integers(200, 9000, (50, 2)).tolist()]:
        size = limit_size((height, width), 768)
        assert max(size) <= 768
        assert size[0] / size[1] == pytest.approx(height / width, rel=0.01)
    assert limit_size((4000, 6000), 768) == (512, 768)
    assert limit_size((321, 481), 768) == (321, 481)
    assert limit_size((1, 9000), 768) == (1, 768)


def test_a_photo_is_reduced_but_never_below_the_networks_size() -> None:
    assert [find_reduction((side, side + 7), (512, 519)) for side in (300, 512, 1023, 1031, 2080, 9000)] == [
        1, 1, 1, 2, 4, 8,
    ]  # fmt: skip
    pixels = photo(1000, 1500)
    small, area = resize_photo(pixels, (64, 96)), Image.fromarray(pixels).resize((96, 64), Image.Resampling.BOX)
    error = np.abs(small.astype(int) - np.asarray(area)).mean()
    assert error < 0.5 * np.abs(pixels[7::15, 7::15][:64, :96].astype(int) - np.asarray(area)).mean()


def test_windows_cover_a_photo_as_mmsegmentations_do() -> None:
    assert place_windows((512, 768), (512, 512), (341, 341)) == [(0, 0), (0, 256)]
    assert place_windows((512, 512), (512, 512), (341, 341)) == [(0, 0)]
    assert place_windows((683, 1024), (512, 512), (341, 341)) == [
        (0, 0), (0, 341), (0, 512), (171, 0), (171, 341), (171, 512),
    ]  # fmt: skip


@pytest.mark.parametrize("side", [12, 24, 48, 31])
@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("chunk", [1000, 100000])
def test_labels_are_those_of_enlarged_logits(
    side: int, align: bool, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From smooth logits, of which most pixels need none computed, and from noise."""
    monkeypatch.setattr("deepct.segmentation.windows._CHUNK", chunk)
    generator = torch.Generator().manual_seed(0)
    size = (5 * side // 3, 4 * side // 3)
    corners = place_windows(size, (side, side), (2 * side // 3, 2 * side // 3))
    for grain in (1, 6):
        logits = [torch.randn(2, 9, 12 // grain, 12 // grain, generator=generator) for _ in corners]
        logits = [F.interpolate(part, size=12, mode="nearest") for part in logits]
        total = torch.zeros(2, 9, *size)
        for part, (y, x) in zip(logits, corners, strict=True):
            enlarged = F.interpolate(part, size=side, mode="bilinear", align_corners=align)
            total[:, :, y : y + side, x : x + side] += enlarged
        labels = label_windows(logits, corners, (side, side), size, align)
        chosen = total.gather(1, labels.long().unsqueeze(1))[:, 0]
        assert (total.amax(1) - chosen).max() < 1e-5
