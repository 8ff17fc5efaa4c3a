from pathlib import Path
from unittest.mock import Mock

import lightning as L
import numpy as np
import pytest
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from PIL import Image

from deepct.callbacks import DemoPanels
from deepct.callbacks.histograms import draw_histograms
from deepct.callbacks.show import show_pictures
from deepct.callbacks.writer import output_names
from deepct.data.folder import Job
from deepct.modules import Teacher
from deepct.networks import NetworkConfig
from deepct.sheet import contact_sheet, thumbnail

PICTURE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def trainer(folder: Path, *loggers: Logger) -> Mock:
    made = Mock(spec=L.Trainer, sanity_checking=False, is_global_zero=True, loggers=[*loggers], log_dir=str(folder))
    made.global_step, made.fast_dev_run, made.logger = 7, False, Mock()
    return made


def test_a_logger_without_pictures_has_them_on_disk_one_below_the_other(tmp_path: Path) -> None:
    for loggers in ((), (CSVLogger(str(tmp_path)),)):
        show_pictures(trainer(tmp_path, *loggers), "val/demo", {"a": PICTURE, "b": PICTURE[:10, :20]}, tmp_path)
        with Image.open(tmp_path / "pictures" / "val_demo-0000007.png") as image:
            shown = np.asarray(image)
        assert np.array_equal(shown[:20], PICTURE)
        assert np.array_equal(shown[20:30, :20], PICTURE[:10, :20])
        assert (shown[30:] == 255).all()
        (tmp_path / "pictures" / "val_demo-0000007.png").unlink()


def test_tensorboard_gets_the_pictures(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logger = TensorBoardLogger(str(tmp_path))
    show_pictures(trainer(tmp_path, logger), "demo", {"strong": PICTURE}, tmp_path)
    logger.finalize("success")
    events = EventAccumulator(logger.log_dir)
    events.Reload()
    shown = events.Images("demo/strong")[0]
    assert (shown.step, shown.width, shown.height) == (7, 30, 20)
    assert not (tmp_path / "pictures").exists()


def test_wandb_gets_the_pictures_at_one_size_with_their_step(tmp_path: Path) -> None:
    logger = Mock(spec=WandbLogger)
    show_pictures(trainer(tmp_path, logger), "demo", {"a": PICTURE, "b": PICTURE[:10]}, tmp_path)
    (name, pictures), more = logger.log_image.call_args
    assert (name, more) == ("demo", {"step": 7, "caption": ["a", "b"]})
    assert [picture.shape for picture in pictures] == [PICTURE.shape] * 2


def test_a_histogram_is_drawn_where_the_colours_are() -> None:
    red, dark = (np.full((8, 8, 3), colour, dtype=np.uint8) for colour in ((250, 20, 20), (10, 10, 10)))
    drawn = {name: draw_histograms(photo, 100, 64).astype(int) for name, photo in (("red", red), ("dark", dark))}
    assert drawn["red"].shape == (64, 100, 3)
    planes = {name: picture[:, :64].sum(-1) for name, picture in drawn.items()}
    brightest = {name: np.unravel_index(plane.argmax(), plane.shape) for name, plane in planes.items()}
    row, column = brightest["red"]
    assert (column > 48, row < 24) == (True, True)  # a far to the right, b up
    assert abs(brightest["dark"][1] - 64 * 86.183 / 184.4161) < 2  # grey: a = b = 0
    bars = {name: (picture[40, 72:] != 255).any(-1) for name, picture in drawn.items()}
    assert bars["dark"][0]
    assert not bars["dark"][4:].any()
    assert bars["red"].argmax() > 8


def test_the_four_demo_pairs_are_shown_after_a_validation_but_not_after_the_sanity_check(tmp_path: Path) -> None:
    tiny = NetworkConfig(
        encoder_widths=(4, 4, 6, 6, 8),
        decoder_widths=(8, 6, 6, 4, 4),
        refinement_width=4,
        histogram_width=8,
        code_size=6,
    )
    module = Teacher(tiny)
    made = trainer(tmp_path)
    made.sanity_checking = True
    panels = DemoPanels(size=32)
    panels.on_validation_epoch_end(made, module)
    assert not (tmp_path / "pictures").exists()
    made.sanity_checking = False
    panels.on_validation_epoch_end(made, module)
    with Image.open(tmp_path / "pictures" / "demo_pairs-0000007.png") as image:
        assert image.height > 4 * (32 + 21)  # photos, and their histograms
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
