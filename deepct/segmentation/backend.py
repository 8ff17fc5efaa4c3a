"""The only door to MMSegmentation: it is imported where a command needs it, and told to be quiet."""

import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import nn

from deepct.errors import ConfigError, DeepctError

_IGNORED_STEPS = frozenset({"LoadImageFromFile", "LoadImageFromNDArray", "LoadAnnotations", "PackSegInputs"})


@dataclass(frozen=True)
class ModelConfig:
    """What a configuration file of MMSegmentation says about running its model.

    Attributes:
        model: what ``MODELS.build`` takes.
        text: the whole configuration, its bases included.
        dataset: the type of its test data set, whose classes it tells apart; empty where it names none.
        scale: what ``Resize`` scales photos to: the longest and the shortest side, px, or width and height.
        keep_ratio: whether it keeps their aspect ratio.
    """

    model: dict[str, Any]
    text: str
    dataset: str
    scale: tuple[int, int]
    keep_ratio: bool


def require_mmseg() -> None:
    """Check that MMSegmentation is there.

    Raises:
        DeepctError: it is not installed, or does not import.
    """
    reason = ", ".join(name for name in ("mmseg", "mmcv", "mmengine") if find_spec(name) is None)
    if not reason:
        try:
            with _quiet():
                import mmseg.models  # noqa: F401
        except (ImportError, AssertionError) as error:  # an assertion is how it refuses versions
            reason = str(error)
    if reason:
        raise DeepctError(
            f"making label maps needs MMSegmentation ({reason}): pip install 'deepct[masks]'. It brings the maintained "
            "distribution, onedl-mmsegmentation; mmsegmentation itself does not import with a current torch"
        )


def build_network(model: dict[str, Any]) -> nn.Module:
    """Build a segmentor, with random weights, not training.

    Raises:
        ConfigError: MMSegmentation cannot build it.
    """
    with _quiet():
        from mmengine import ConfigDict
        from mmengine.registry import DefaultScope
        from mmseg.registry import MODELS

        try:
            with DefaultScope.overwrite_default_scope("mmseg"):
                network: nn.Module = MODELS.build(ConfigDict(model))
        except Exception as error:  # whatever a part of it makes of its settings
            raise ConfigError(f"MMSegmentation cannot build the model: {type(error).__name__}: {error}") from error
    return network.eval()


def read_config(path: str | Path) -> ModelConfig:
    """Read a configuration file. It is Python and is run, so take only those you trust.

    Raises:
        ConfigError: it cannot be read, has no model, or prepares photos in a way that deepct does not know.
    """
    with _quiet():
        from mmengine import Config

        try:
            config = Config.fromfile(str(path))
        except Exception as error:
            raise ConfigError(f"{path}: cannot be read as a configuration of MMSegmentation ({error})") from error
    model, steps = config.get("model"), config.get("test_pipeline")
    if model is None or steps is None:
        raise ConfigError(f"{path}: has no model or no test_pipeline; --config takes a whole one of MMSegmentation")
    resize = [step for step in steps if step["type"] not in _IGNORED_STEPS]
    if len(resize) != 1 or resize[0]["type"] != "Resize" or "scale" not in resize[0]:
        kinds = ", ".join(step["type"] for step in resize) or "nothing"
        raise ConfigError(f"{path}: its test_pipeline has {kinds} where deepct knows one Resize with a scale")
    scale = resize[0]["scale"]
    text = config.pretty_text
    model.pretrained = model.train_cfg = None
    if "backbone" in model and "init_cfg" in model.backbone:
        model.backbone.init_cfg = None  # all weights come from the checkpoint
    return ModelConfig(
        model.to_dict(),
        text,
        (config.get("test_dataloader") or {}).get("dataset", {}).get("type", ""),
        (scale, scale) if isinstance(scale, int) else (scale[0], scale[1]),
        resize[0].get("keep_ratio", False),
    )


def find_classes(count: int, meta: Mapping[str, Any], dataset: str = "") -> tuple[list[str], list[list[int]]]:
    """Names and RGB colours of a model's classes: as its checkpoint has them, or its data set, or ADE20K.

    Where no source knows so many, the names are numbers.
    """
    with _quiet():
        from mmseg.datasets import ADE20KDataset
        from mmseg.registry import DATASETS

        kind = DATASETS.get(dataset) if dataset else None
    ade, own = ADE20KDataset.METAINFO, meta.get("dataset_meta") or {}
    sources = [
        (own.get("classes"), own.get("palette")),
        (meta.get("CLASSES"), meta.get("PALETTE")),
        (getattr(kind, "METAINFO", {}).get("classes"), getattr(kind, "METAINFO", {}).get("palette")),
        (ade["classes"], ade["palette"]),
    ]
    for classes, palette in sources:
        if classes and palette and len(classes) == len(palette) == count:
            return [str(name).strip() for name in classes], [[int(value) for value in colour] for colour in palette]
    return [str(index) for index in range(count)], ade["palette"][:count]


@contextmanager
def _quiet() -> Iterator[None]:
    """Importing mmseg.datasets prints which other projects it misses, and its parts warn of what no user can mend."""
    level = logging.root.manager.disable
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(level)
