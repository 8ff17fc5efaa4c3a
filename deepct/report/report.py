"""Tell what trainings did: ``deepct report``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

from deepct.errors import DataError, DeepctError
from deepct.report.curves import curves_section
from deepct.report.extremes import extremes_section
from deepct.report.facts import facts_section
from deepct.report.figure import Section
from deepct.report.page import FIGURES, write_page
from deepct.report.runs import Run, read_runs
from deepct.telling import print_failures


def report(runs: Sequence[str], output: str, photos: str | None = None, memory: float | None = None) -> int:
    """Write a page about trainings from their logs, and its figures as files.

    Args:
        runs: folders of logs, see :func:`deepct.report.runs.read_runs`.
        output: folder for ``report.html`` and ``figures``; those of a report before are replaced.
        photos: folder of photos to show the networks on.
        memory: of the device that training is to fit, GiB.

    Returns:
        The exit status: 0, or 1 where a part of the report could not be made.

    Raises:
        DataError: logs cannot be used, or the output is no place for a report.
        DeepctError: matplotlib or wandb is missing.
    """
    if find_spec("matplotlib") is None:
        raise DeepctError("deepct report draws with matplotlib: pip install 'deepct[report]'")
    from deepct.report.costs import costs_section
    from deepct.report.pairs import masks_section, pairs_section

    trainings = read_runs(runs)
    place = _claim(Path(output))
    parts: dict[str, Callable[[list[Run]], Section]] = {
        "Trainings": facts_section,
        "Losses": curves_section,
        "Pairs": lambda read: pairs_section(read, photos),
        "Label maps": lambda read: masks_section(read, photos),
        "Largest and smallest losses": extremes_section,
        "Costs": lambda read: costs_section(read, memory),
    }
    sections, problems = [], []
    for title, make in parts.items():
        try:
            sections.append(make(trainings))
        except Exception as error:  # minutes of work on the other parts must not be lost
            problems.append(f"{title}: {str(error) or type(error).__name__}")
            sections.append(Section(title, [f"This part could not be made. {error}"]))
    page, undrawn = write_page(f"Report of {', '.join(run.name for run in trainings)}", sections, place)
    problems += undrawn
    print(f"written to {page}, with its figures in {place / FIGURES}")
    print_failures(problems)
    return int(bool(problems))


def _claim(place: Path) -> Path:
    if place.exists() and not place.is_dir():
        raise DataError(f"{place}: is a file; give --output a folder")
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{place}: cannot be written ({error}); give another --output") from error
    return place
