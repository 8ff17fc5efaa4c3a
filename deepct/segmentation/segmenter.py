"""A segmentation model: from photos to label maps."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepct.data.image import to_pixels, to_planes
from deepct.data.masks import NUM_CLASSES
from deepct.errors import CheckpointError
from deepct.segmentation.architecture import beit_config, find_architecture
from deepct.segmentation.attention import fuse_attention
from deepct.segmentation.backend import build_network, find_classes, read_config, require_mmseg
from deepct.segmentation.checkpoint import load_strictly, read_checkpoint
from deepct.segmentation.resize import Size, resize_photo, scale_size
from deepct.segmentation.windows import label_windows, place_windows


@dataclass(frozen=True)
class Description:
    """What a model is.

    Attributes:
        model: in words.
        checkpoint: the file's name.
        sha256: its checksum.
        config_sha256: the checksum of the configuration that was given, or None.
        scale: what photos are scaled to: the longest and the shortest side, px, or width and height.
        keep_ratio: whether their aspect ratio is kept.
        classes: names of labels 0, 1, ...
        palette: their RGB colours.
    """

    model: str
    checkpoint: str
    sha256: str
    config_sha256: str | None
    scale: tuple[int, int]
    keep_ratio: bool
    classes: list[str]
    palette: list[list[int]]


class Segmenter(nn.Module):
    """Label photos by a segmentation model of MMSegmentation.

    >>> segmenter = Segmenter.load("beitv2_base_patch16_224_pt1k_ft21ktoade20k.pth")  # doctest: +SKIP
    >>> labels = segmenter.segment(photo)                                             # doctest: +SKIP

    Args:
        network: a segmentor with its weights; what only training needs is taken from it.
        description: what it is.
        batch_size: how many windows go through it at once.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: Any, description: Description, batch_size: int = 4) -> None:
        super().__init__()
        from mmseg.models import EncoderDecoder
        from mmseg.models.decode_heads.decode_head import BaseDecodeHead

        if hasattr(network, "auxiliary_head"):
            del network.auxiliary_head
        head = type(network.decode_head)
        self.description = description
        self.batch_size = batch_size
        is_plain = type(network) is EncoderDecoder and network.out_channels > 1
        self._has_plain_head = is_plain and all(
            getattr(head, name) is getattr(BaseDecodeHead, name) for name in ("predict", "predict_by_feat")
        )
        is_fixed = fuse_attention(network)  # BEiT sees its window and no other size
        self._slides = network.test_cfg["mode"] == "slide"
        self._window: Size = tuple(network.test_cfg["crop_size"]) if self._slides else (1, 1)
        preprocessor = network.data_preprocessor
        padding = preprocessor.test_cfg or {}
        self._least: Size = tuple(padding.get("size") or (self._window if is_fixed else (1, 1)))
        self._divisor: int = padding.get("size_divisor") or 1
        self._pad_value: float = preprocessor.pad_val
        # MMSegmentation reads BGR: a preprocessor that swaps the channels wants RGB.
        self._takes_rgb: bool = preprocessor._channel_conversion
        has_mean = preprocessor._enable_normalize
        self.register_buffer("mean", preprocessor.mean.clone() if has_mean else torch.zeros(3, 1, 1), persistent=False)
        self.register_buffer("std", preprocessor.std.clone() if has_mean else torch.ones(3, 1, 1), persistent=False)
        self.network = network.requires_grad_(False).to(memory_format=torch.channels_last).eval()

    @classmethod
    def load(cls, checkpoint: str | Path, config: str | Path | None = None, sha256: str | None = None) -> "Segmenter":
        """Load one of the four official BEiT v2 checkpoints for ADE20K, or a checkpoint in MMSegmentation's names.

        Args:
            checkpoint: the file; base or large is told by its shapes.
            config: a configuration of MMSegmentation, for a model that is no BEiT with UPerNet. It is Python, and run.
            sha256: the checksum that the file must have, in hexadecimal.

        Raises:
            DeepctError: MMSegmentation is not installed.
            CheckpointError: the checkpoint is missing, damaged, another one, does not fit, or has too many classes.
            ConfigError: the configuration cannot be used.
        """
        require_mmseg()
        weights = read_checkpoint(checkpoint, sha256)
        if config is None:
            beit = find_architecture(weights)
            model, name, dataset, text = beit_config(beit), beit.name, "", None
            scale, keep_ratio = beit.scale, True
        else:
            given = read_config(config)
            model, name, dataset, text = given.model, Path(config).stem, given.dataset, given.text
            scale, keep_ratio = given.scale, given.keep_ratio
        network: Any = build_network(model)
        load_strictly(network, weights)
        count: int = network.decode_head.num_classes
        if count > NUM_CLASSES:
            raise CheckpointError(f"{checkpoint}: has {count} classes; deepct's label maps hold {NUM_CLASSES}")
        classes, palette = find_classes(count, weights.meta, dataset)
        config_sha256 = None if text is None else hashlib.sha256(text.encode()).hexdigest()
        return cls(
            network,
            Description(name, weights.path.name, weights.sha256, config_sha256, scale, keep_ratio, classes, palette),
        )

    def network_size(self, size: Size) -> Size:
        """Height and width, px, at which the network sees a photo of this height and width."""
        return scale_size(size, self.description.scale, self.description.keep_ratio)

    @torch.inference_mode()
    def segment(self, photos: Tensor) -> Tensor:
        """Label photos of one size.

        Args:
            photos: (3, H, W) or (B, 3, H, W) uint8 sRGB, upright, on any device.

        Returns:
            (B, h, w) uint8 labels at :meth:`network_size`, on the network's device: 0 to 149, with no 255 among them.
            Resize them by the nearest label.
        """
        photos = photos.unsqueeze(0) if photos.ndim == 3 else photos
        size = self.network_size((photos.shape[-2], photos.shape[-1]))
        resized = torch.stack([to_planes(resize_photo(to_pixels(photo), size)) for photo in photos])
        labels: Tensor = self(resized.to(self.mean.device))
        return labels

    @torch.inference_mode()
    def forward(self, photos: Tensor) -> Tensor:
        """(B, 3, h, w) uint8 sRGB of :meth:`network_size` to (B, h, w) uint8 labels."""
        height, width = photos.shape[-2:]
        inputs = self._prepare(photos)
        if self._has_plain_head:
            return self._label(inputs)[:, :height, :width]
        shape = tuple(inputs.shape[-2:])
        metas = [{"ori_shape": shape, "img_shape": shape, "pad_shape": shape} for _ in inputs]
        logits: Tensor = self.network.inference(inputs, metas)
        labels = (
            logits.argmax(1) if logits.shape[1] > 1 else logits[:, 0].sigmoid() > self.network.decode_head.threshold
        )
        return labels[:, :height, :width].to(torch.uint8)

    def _prepare(self, photos: Tensor) -> Tensor:
        """What the model's own preprocessor does: normalise, then pad below and to the right."""
        inputs = ((photos if self._takes_rgb else photos.flip(1)).float() - self.mean) / self.std
        height, width = (
            -(-max(side, least) // self._divisor) * self._divisor
            for side, least in zip(inputs.shape[-2:], self._least, strict=True)
        )
        return F.pad(inputs, (0, width - inputs.shape[-1], 0, height - inputs.shape[-2]), value=self._pad_value)

    def _label(self, inputs: Tensor) -> Tensor:
        """As ``EncoderDecoder.inference`` and a maximum, for windows of all photos together."""
        height, width = inputs.shape[-2:]
        corners, window = [(0, 0)], (height, width)
        if self._slides:
            window = min(self._window[0], height), min(self._window[1], width)
            stride: Size = tuple(self.network.test_cfg["stride"])
            corners = place_windows((height, width), window, stride)
        crops = torch.cat([inputs[:, :, y : y + window[0], x : x + window[1]] for y, x in corners])
        logits = torch.cat([self._logits(part) for part in crops.split(self.batch_size)])
        aligned: bool = self.network.align_corners
        return label_windows(logits.split(len(inputs)), corners, window, (height, width), aligned)

    def _logits(self, crops: Tensor) -> Tensor:
        crops = crops.contiguous(memory_format=torch.channels_last)
        logits: Tensor = self.network.decode_head(self.network.extract_feat(crops))
        return logits
