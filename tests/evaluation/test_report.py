import csv
from pathlib import Path

import numpy as np

from deepct.evaluation.judge import Row, Verdict
from deepct.evaluation.report import MEASURES, as_html, as_markdown, make_tables, write_pairs
from deepct.evaluation.sheets import SHEET_ROWS, draw_sheets
from deepct.evaluation.tracks import WildCase

ROWS = [
    Row("wild", "p", "mkl", {"swd": 2.0, "structure": 0.9, "seconds": 1.0}),
    Row("wild", "q", "mkl", {"swd": 4.0, "structure": 0.7, "seconds": 1.0}),
    Row("wild", "p", "identity", {"swd": 1.0, "structure": 1.0, "seconds": 0.0}),
    Row("wild", "p", "hm", {"swd": 2.5, "structure": 0.95, "seconds": 1.0}),
    Row("aligned", "p", "mkl", {"image_loss": 0.01}),
    Row("aligned", "p", "hm-mvgd-hm", {"image_loss": 0.001}),
    Row("protocol", "p/retouch", "mkl", {"image_loss": 0.004, "psnr": 20.0}),
    Row("protocol", "p/identical", "mkl", {"image_loss": 0.002}),
]


def test_tables_hold_means_in_order_with_the_best_but_identity_and_oracles_marked() -> None:
    aligned, protocol, wild = make_tables(ROWS)
    assert [table.track for table in (aligned, protocol, wild)] == ["aligned", "protocol", "wild"]
    assert wild.headings == ["method", "pairs", "to reference, SWD", "structure", "time, s"]
    assert wild.lines[0] == ["mkl", "2", "3.00", "0.800", "1.00"]
    assert wild.bold == [set(), set(), {2, 3}]
    assert aligned.lines[1][0] == "hm-mvgd-hm (oracle)"
    assert aligned.bold == [{2}, set()]


def test_the_published_figures_stand_in_the_protocol_alone() -> None:
    _, protocol, _ = make_tables(ROWS)
    assert [line[2] for line in protocol.lines] == ["0.0030", "0.0028", "0.0040"]
    assert protocol.lines[0][3] == "20.00"
    text = as_markdown(make_tables(ROWS))
    assert text.count("published") == 2
    assert "| hm | 1 | **2.50** | **0.950** | 1.00 |" in text
    assert "An oracle reads" in text


def test_the_page_needs_no_other_file() -> None:
    page = as_html(make_tables(ROWS), {"wild": np.zeros((20, 30, 3), np.uint8)})
    assert page.count("<table>") == 3
    assert "<td><b>0.950</b></td>" in page
    assert page.count('src="data:image/jpeg;base64,') == page.count("src=") == 1
    assert "href" not in page


def test_every_row_is_written(tmp_path: Path) -> None:
    write_pairs(ROWS, tmp_path / "pairs.csv")
    with (tmp_path / "pairs.csv").open() as file:
        read = list(csv.DictReader(file))
    assert list(read[0]) == ["track", "pair", "method", *MEASURES]
    assert [(row["track"], row["pair"], row["method"]) for row in read] == [row[:3] for row in ROWS]
    assert (read[0]["swd"], read[0]["psnr"]) == ("2", "")


def test_sheets_hold_ten_pairs_and_leave_failed_methods_blank() -> None:
    picture = np.zeros((150, 100, 3), np.uint8)
    verdicts = [
        Verdict(WildCase(f"{index}", Path(), Path()), pictures={"source": picture, "truth": picture})
        for index in range(SHEET_ROWS + 1)
    ]
    verdicts[0].pictures["mkl"] = picture
    verdicts[0].rows.append(Row("wild", "0", "mkl", {"swd": 1.5}))
    first, second = draw_sheets(verdicts)
    assert first.shape[0] > 8 * second.shape[0]
    assert first.shape[1] >= 300
