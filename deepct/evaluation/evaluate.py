"""Judge methods on folders of photos: ``deepct evaluate``."""

from collections import Counter
from collections.abc import Sequence
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from PIL import Image

from deepct.data.pool import cores, work_off_jobs
from deepct.errors import DataError
from deepct.evaluation.folders import aligned_cases, disjoint_cases, protocol_cases, trust_cases, wild_cases
from deepct.evaluation.judge import Verdict, judge
from deepct.evaluation.methods import Method, choose_methods
from deepct.evaluation.report import TRACKS, as_html, as_markdown, make_tables, write_pairs
from deepct.evaluation.sheets import MOST_SHEETS, SHEET_ROWS, draw_sheets
from deepct.evaluation.tracks import LEAST_SIDE, Case
from deepct.sheet import Picture
from deepct.telling import print_failures

PAIRS_FILE = "pairs.csv"


def evaluate(
    output: str,
    disjoint: Sequence[str] = (),
    aligned: Sequence[str] = (),
    wild: Sequence[str] = (),
    methods: Sequence[str] = (),
    checkpoint: Sequence[str] = (),
    size: int = 768,
    workers: int | None = None,
) -> int:
    """Run transfers over pairs of photos and measure them: tables, a row for each pair, and contact sheets.

    Args:
        output: folder for the results; those of a run before are replaced.
        disjoint: folders of any photos.
        aligned: folders of photos and their retouched versions; the report's protocol is run on them too.
        wild: folders of photos, or with folders ``in`` and ``ref``.
        methods: names, see :mod:`deepct.evaluation.methods`; all by default.
        checkpoint: networks, ``CKPT`` or ``NAME=CKPT``.
        size: at most how long the photos' long side is, px.
        workers: processes that work at once, by default one for each core; 0 works in this one.

    Returns:
        The exit status: 0, or 1 where a photo, or a method on some pair, failed.

    Raises:
        DataError: there is nothing to judge by, a folder is not what a track needs, the output is no place for
            results, or Ctrl-C stopped the run.
        ConfigError: there is no such method.
        CheckpointError: a network cannot be loaded.
    """
    if size < LEAST_SIDE or (workers is not None and workers < 0):
        raise DataError(f"size {size}, workers {workers}: give {LEAST_SIDE} or more, and 0 or more")
    cases, problems = _find_cases(disjoint, aligned, wild)
    chosen = choose_methods(methods, checkpoint)
    place = _claim(Path(output), [Path(folder) for folder in (*disjoint, *aligned, *wild)])
    verdicts = _judge_all(cases, chosen, size, cores() if workers is None else workers)
    problems += [problem for verdict in verdicts for problem in verdict.problems]
    tables = make_tables([row for verdict in verdicts for row in verdict.rows])
    try:
        write_pairs([row for verdict in verdicts for row in verdict.rows], place / PAIRS_FILE)
        (place / "results.md").write_text(as_markdown(tables), encoding="utf-8")
        first_sheets = _write_sheets(place, verdicts)
        (place / "results.html").write_text(as_html(tables, first_sheets), encoding="utf-8")
    except OSError as error:
        raise DataError(f"{place}: cannot be written ({error}); give another --output") from error
    print(as_markdown(tables))
    print(f"written to {place}: {PAIRS_FILE}, results.md, results.html and contact sheets")
    print_failures(problems)
    return int(bool(problems))


def _find_cases(disjoint: Sequence[str], aligned: Sequence[str], wild: Sequence[str]) -> tuple[list[Case], list[str]]:
    if not (disjoint or aligned or wild):
        raise DataError("there is nothing to judge by; give folders of photos: --disjoint, --aligned or --wild")
    problems: list[str] = []
    retouched, unrelated = [], []
    for folder in aligned:
        found, missing = aligned_cases(Path(folder))
        retouched += found
        problems += missing
    halves = [case for folder in disjoint for case in disjoint_cases(Path(folder))]
    for folder in wild:
        pairs, missing = wild_cases(Path(folder))
        unrelated += pairs
        problems += missing
    cases: list[Case] = [*retouched, *protocol_cases(retouched), *halves, *unrelated]
    cases = list(dict.fromkeys([*cases, *trust_cases(cases)]))
    names = Counter((case.track, case.name) for case in cases)
    for (track, name), count in names.items():
        if count > 1:
            raise DataError(
                f"{count} pairs of the track {track} would be called {name}; rename all photos {name} but one"
            )
    return cases, problems


def _claim(place: Path, inputs: Sequence[Path]) -> Path:
    """Make the folder of the results, or clear away what an earlier run drew there."""
    try:
        if any(place.resolve() == folder.resolve() for folder in inputs):
            raise DataError(f"{place}: holds what is to be read; give --output another folder")
        place.mkdir(parents=True, exist_ok=True)
        entries = [entry for entry in place.iterdir() if not entry.name.startswith(".")]
        if entries and not (place / PAIRS_FILE).is_file():
            raise DataError(f"{place}: is not empty and holds no results of deepct; give --output a new folder")
        for track in TRACKS:
            for sheet in place.glob(f"sheet-{track}-[0-9][0-9][0-9].png"):
                sheet.unlink()
    except OSError as error:
        raise DataError(f"{place}: cannot be written ({error}); give another --output") from error
    return place


def _judge_all(cases: Sequence[Case], methods: Sequence[Method], size: int, workers: int) -> list[Verdict]:
    """Every case's verdict, in the order of the cases."""
    from tqdm import tqdm

    shown = {case for track in TRACKS for case in [c for c in cases if c.track == track][: SHEET_ROWS * MOST_SHEETS]}
    work = partial(_judge, methods=methods, size=size, shown=shown)
    # Started afresh: torch's threads do not live on in forked processes.
    results = work_off_jobs(cases, work, workers, _lost, get_context("spawn"))
    try:
        verdicts = {v.case: v for v in tqdm(results, total=len(cases), unit="pair", disable=None)}
    except KeyboardInterrupt:
        raise DataError("stopped; nothing was written") from None
    return [verdicts[case] for case in cases]


def _judge(case: Case, methods: Sequence[Method], size: int, shown: set[Case]) -> Verdict:
    return judge(case, methods, size, case in shown)


def _lost(case: Case) -> Verdict:
    reason = "it ends the process that works on it: a photo is broken, or memory short; try a smaller --size"
    return Verdict(case, problems=[f"{case.track} {case.name}: {reason}"])


def _write_sheets(place: Path, verdicts: Sequence[Verdict]) -> dict[str, Picture]:
    """Write the contact sheets; the first one of each track is given back."""
    first: dict[str, Picture] = {}
    for track in TRACKS:
        drawn = [verdict for verdict in verdicts if verdict.case.track == track and verdict.pictures]
        for number, sheet in enumerate(draw_sheets(drawn), start=1):
            Image.fromarray(sheet).save(place / f"sheet-{track}-{number:03d}.png")
            first.setdefault(track, sheet)
    return first
