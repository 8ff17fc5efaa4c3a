"""deepct as a Python script uses it, from the process's start: nothing is imported but the API."""

from PIL import Image

from deepct import ColorTransfer


def recolor(source: str, reference: str, output: str) -> None:
    """Recolour a photo from file to file; written as :func:`benchmarks.matched.match_files` writes."""
    photos = (Image.open(path) for path in (source, reference))
    ColorTransfer.load().transfer(*photos).save(output, compress_level=1)
