"""How charts are set: matplotlib's settings for a theme."""

from __future__ import annotations

from typing import Any

from deepct.report.figure import Theme

DPI = 150
"""Of figures as PNG."""


def make_style(theme: Theme) -> dict[Any, Any]:
    """Settings for ``matplotlib.rc_context``: large type, since pages may be narrow, and no chance in the files."""
    return {
        "font.size": 14,
        "axes.titlesize": 15,
        "axes.titlelocation": "left",
        "legend.fontsize": 13,
        "legend.frameon": False,
        "lines.linewidth": 2.2,
        "figure.facecolor": theme.paper,
        "savefig.facecolor": theme.paper,
        "axes.facecolor": theme.paper,
        "axes.edgecolor": theme.ink,
        "axes.labelcolor": theme.ink,
        "axes.titlecolor": theme.ink,
        "text.color": theme.ink,
        "xtick.color": theme.ink,
        "ytick.color": theme.ink,
        "legend.labelcolor": theme.ink,
        "grid.color": theme.faint,
        "grid.linewidth": 0.6,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "svg.fonttype": "path",
        "svg.hashsalt": "deepct",
    }
