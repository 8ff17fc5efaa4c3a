"""What is judged, by name: the classical transfers and networks of deepct."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

from deepct.api import ColorTransfer
from deepct.errors import ConfigError
from deepct.evaluation import baselines
from deepct.evaluation.lab import Photo
from deepct.evaluation.matcher import color_matcher, require_color_matcher
from deepct.evaluation.tracks import AlignedCase, Case, Photos

ORACLE = "hm-mvgd-hm"
"""It reads which pixel of the reference belongs to which of the source: no method for two different photos."""

CLASSICAL: dict[str, Callable[[Photo, Photo], Photo]] = {
    "identity": baselines.identity,
    "reinhard": baselines.reinhard,
    "hm": baselines.histogram_matching,
    "mkl": baselines.mkl,
    "idt": baselines.idt,
    "hm-mkl-hm": partial(color_matcher, method="hm-mkl-hm"),
    ORACLE: partial(color_matcher, method=ORACLE),
}

SHIPPED = "deepct"
"""The name of the network that comes with deepct."""


@dataclass(frozen=True)
class Method:
    """A way to recolour.

    Attributes:
        name: as it stands in the results.
        checkpoint: a network's file; None for one of :data:`CLASSICAL`, and for :data:`SHIPPED`.
        labels: whether the network is given the label maps.
    """

    name: str
    checkpoint: str | None = None
    labels: bool = False

    @property
    def is_network(self) -> bool:
        """Whether a network does it."""
        return self.name not in CLASSICAL

    def serves(self, case: Case, photos: Photos) -> bool:
        """Whether the pair is one for this method."""
        if self.name == ORACLE:
            return isinstance(case, AlignedCase)
        return not self.labels or photos.labels is not None

    def prepare(self) -> None:
        """Read the network, which is no part of the time that a photo takes."""
        if self.is_network:
            load(self.checkpoint)

    def recolor(self, photos: Photos) -> Photo:
        """The source in the reference's colours, (H, W, 3) uint8 sRGB of the source's size."""
        if not self.is_network:
            return CLASSICAL[self.name](photos.source, photos.reference)
        labels = photos.labels if self.labels and photos.labels is not None else ()
        return load(self.checkpoint).transfer(photos.source, photos.reference, *labels)


@lru_cache
def load(checkpoint: str | None) -> ColorTransfer:
    """A network, read once in each process.

    Raises:
        CheckpointError: it cannot be loaded.
    """
    return ColorTransfer.load(checkpoint)


def choose_methods(names: Sequence[str], checkpoints: Sequence[str]) -> list[Method]:
    """The methods to run, checked before the work begins.

    Args:
        names: of :data:`CLASSICAL`, or :data:`SHIPPED`; empty for all classical ones, and the shipped network where no
            other is given.
        checkpoints: ``CKPT``, which goes by its stem, or ``NAME=CKPT``.

    Returns:
        The classical methods, then the networks, each without label maps and with them.

    Raises:
        ConfigError: a name is unknown or taken twice, or color-matcher is wanted and not installed.
        CheckpointError: a network cannot be loaded.
    """
    unknown = [name for name in names if name not in (*CLASSICAL, SHIPPED)]
    if unknown:
        raise ConfigError(f"there is no method {unknown[0]!r}; there are {', '.join((*CLASSICAL, SHIPPED))}")
    chosen = dict.fromkeys(names or CLASSICAL)
    networks = [_name_network(checkpoint) for checkpoint in checkpoints]
    if SHIPPED in chosen or (not names and not networks):
        networks = [(SHIPPED, None), *networks]
    taken = [*CLASSICAL, *(name for name, _ in networks)]
    twice = next((name for name in taken if taken.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"two methods are called {twice!r}; give networks names of their own: --checkpoint NAME=CKPT")
    if {"hm-mkl-hm", ORACLE} & chosen.keys():
        require_color_matcher()
    for _, checkpoint in networks:
        load(checkpoint)
    return [
        *(Method(name) for name in chosen if name != SHIPPED),
        *(
            Method(f"{name} + labels" if labels else name, checkpoint, labels)
            for name, checkpoint in networks
            for labels in (False, True)
        ),
    ]


def _name_network(text: str) -> tuple[str, str | None]:
    """A network's name and file; a path that is there may hold an equals sign itself, as Lightning's do."""
    name, equals, path = text.partition("=")
    if equals and not Path(text).is_file():
        return name, path
    return Path(text).stem, text
