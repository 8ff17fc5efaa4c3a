from pathlib import Path
from unittest.mock import Mock

import lightning as L
import numpy as np
import pytest
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger, WandbLogger
from PIL import Image

from deepct.callbacks import DemoPanels
from deepct.callbacks.panels import show_picture
from deepct.callbacks.writer import output_names
from deepct.data.folder import Job
from deepct.modules import Teacher
from deepct.networks import NetworkConfig
from deepct.sheet import contact_sheet, thumbnail

PICTURE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def test_a_logger_without_pictures_has_them_on_disk(tmp_path: Path) -> None:
    show_picture(CSVLogger(str(tmp_path)), "demo", PICTURE, 7, tmp_path)
    show_picture(None, "none", PICTURE, 7, tmp_path)
    for name in ("demo", "none"):
        with Image.open(tmp_path / "pictures" / f"{name}-0000007.png") as image:
            assert np.array_equal(np.asarray(image), PICTURE)


def test_tensorboard_gets_the_picture(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logger = TensorBoardLogger(str(tmp_path))
    show_picture(logger, "demo", PICTURE, 7, tmp_path)
    logger.finalize("success")
    events = EventAccumulator(logger.log_dir)
    events.Reload()
    shown = events.Images("demo")[0]
    assert (shown.step, shown.width, shown.height) == (7, 30, 20)
    assert not (tmp_path / "pictures").exists()


def test_wandb_gets_the_picture_with_its_step(tmp_path: Path) -> None:
    logger = Mock(spec=WandbLogger)
    show_picture(logger, "demo", PICTURE, 7, tmp_path)
    logger.log_image.assert_called_once_with("demo", [PICTURE], step=7)


def test_the_four_demo_pairs_are_shown_after_a_validation_but_not_after_the_sanity_check(tmp_path: Path) -> None:
    tiny = NetworkConfig(
        encoder_widths=(4, 4, 6, 6, 8),
        decoder_widths=(8, 6, 6, 4, 4),
        refinement_width=4,
        histogram_width=8,
        code_size=6,
    )
    module = Teacher(tiny)
    trainer = Mock(spec=L.Trainer, sanity_checking=True, is_global_zero=True, loggers=[], log_dir=str(tmp_path))
    trainer.global_step = 3
    panels = DemoPanels(size=32)
    panels.on_validation_epoch_end(trainer, module)
    assert not (tmp_path / "pictures").exists()
    trainer.sanity_checking = False
    panels.on_validation_epoch_end(trainer, module)
    with Image.open(tmp_path / "pictures" / "demo_pairs-0000003.png") as image:
        assert image.height > 4 * 32
    assert module.training


def test_a_sheet_holds_every_picture_unchanged() -> None:
    rows = [(PICTURE, PICTURE[:, ::-1]), (PICTURE[::-1], PICTURE)]
    sheet = contact_sheet(rows, ("left", "right"), ("one", "two"))
    windows = np.lib.stride_tricks.sliding_window_view(sheet, PICTURE.shape)[:, :, 0]
    for picture in (picture for row in rows for picture in row):
        assert any(
            np.array_equal(windows[y, x], picture)
            for y, x in zip(*np.where((windows[:, :, 0, 0] == picture[0, 0]).all(-1)), strict=True)
        )


def test_a_thumbnail_keeps_the_aspect_ratio_up_to_two_to_one() -> None:
    assert thumbnail(PICTURE, 10).shape == (10, 15, 3)
    assert thumbnail(np.repeat(PICTURE, 9, axis=1), 10).shape == (10, 20, 3)


def test_equal_stems_do_not_overwrite_each_other() -> None:
    jobs = [
        Job(Path("s/a.jpg"), Path("r/x.png")),
        Job(Path("s/a.png"), Path("r/x.png")),
        Job(Path("s/b.png"), Path("r/x.png")),
    ]
    assert list(output_names(jobs).values()) == ["a.jpg__x.png", "a.png__x.png", "b__x"]
