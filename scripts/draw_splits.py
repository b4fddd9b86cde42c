"""Draws docs/splits.svg from the functions that cut the splits, so that the picture is what they do.

    python scripts/draw_splits.py

200 daily windows of one symbol with a horizon of 5 bars; the embargo of the combinatorial folds is 6 bars.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.config.schema.data import DataSettings
from cnn_lstm_hyperopt.data.splits import TEST, TRAIN, VALIDATION, WindowDates, assign, cut_dates, make_folds

TARGET = Path(__file__).parents[1] / "docs" / "splits.svg"
BARS, HORIZON, EMBARGO = 200, 5, 6
LEFT, WIDTH, ROW, BAND = 210, 680, 24, 14
UNUSED, TRAINED, JUDGED, TESTED = 0, 1, 2, 3
COLOURS = {UNUSED: "#e4e4e4", TRAINED: "#4878a8", JUDGED: "#e49444", TESTED: "#7a5195"}
MEANING = {
    TRAINED: "trained on",
    JUDGED: "judged by (validation)",
    TESTED: "test: opened once, at the end",
    UNUSED: "purged, embargoed or not used",
}


def rows() -> list[tuple[str, NDArray[np.int64]]]:
    """Each row's title and the use of each window, ``(windows,)``; an empty one is a heading."""
    decided = np.arange(BARS)
    reach = np.minimum(decided + HORIZON, BARS - 1)
    dates = WindowDates(decided, reach, np.minimum(reach + EMBARGO, BARS - 1), reach)
    cuts = cut_dates(decided, (0.7, 0.15, 0.15))
    split = assign(decided, reach, cuts, furthest=reach)
    test = split == TEST
    nothing = np.empty(0, np.int64)
    plain = np.select([split == TRAIN, split == VALIDATION, test], [TRAINED, JUDGED, TESTED], UNUSED)
    found = [("by date (default)", nothing), ("search, retraining, test", plain)]
    for title, scheme, n_folds in (
        ("--cv-folds 3, expanding", "expanding", 3),
        ("--cv-folds 3, rolling", "rolling", 3),
        ("combinatorial, 4 blocks, 2 held out", "combinatorial", 4),
    ):
        settings = DataSettings(horizon=HORIZON, embargo=EMBARGO, cv_folds=n_folds, cv_scheme=scheme)
        found.append((title, nothing))
        for number, fold in enumerate(make_folds(dates, cuts, settings), start=1):
            use = np.where(test, TESTED, UNUSED)
            use[fold.train], use[fold.validation] = TRAINED, JUDGED
            found.append((f"fold {number}", use))
    return found


def runs(use: NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """Maximal runs of one use: first window, number of windows, use."""
    firsts = np.flatnonzero(np.diff(use, prepend=-1))
    lengths = np.diff([*firsts, len(use)])
    return [(int(a), int(n), int(use[a])) for a, n in zip(firsts, lengths, strict=True)]


def svg(lines: Sequence[tuple[str, NDArray[np.int64]]]) -> str:
    """The picture."""
    height = ROW * (len(lines) + 3)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 20} {height}"'
        ' font-family="sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    y = ROW
    for title, use in lines:
        weight = ' font-weight="bold"' if len(use) == 0 else ""
        parts.append(f'<text x="{10 if weight else 26}" y="{y + BAND - 2}"{weight}>{title}</text>')
        for first, length, kind in runs(use):
            x, wide = LEFT + WIDTH * first / BARS, WIDTH * length / BARS
            parts.append(f'<rect x="{x:.1f}" y="{y}" width="{wide:.1f}" height="{BAND}" fill="{COLOURS[kind]}"/>')
        y += ROW
    x = 10
    for kind, meaning in MEANING.items():
        parts.append(f'<rect x="{x}" y="{y + 10}" width="14" height="14" fill="{COLOURS[kind]}"/>')
        parts.append(f'<text x="{x + 20}" y="{y + 22}">{meaning}</text>')
        x += 46 + round(6.9 * len(meaning))
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    TARGET.write_text(svg(rows()), encoding="utf-8")
