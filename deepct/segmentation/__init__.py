"""Label maps by semantic segmentation: BEiT v2, or another model, through MMSegmentation (the extra ``masks``)."""

from deepct.segmentation.segmenter import Segmenter

__all__ = ["Segmenter"]
