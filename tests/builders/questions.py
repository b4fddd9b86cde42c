"""Every target and every scheme of folds, as settings of data."""

from typing import Any

TARGETS: dict[str, dict[str, Any]] = {
    "direction": {"target": "direction"},
    "direction with a dead zone": {"target": "direction", "direction_classes": 3, "dead_zone_atr": 0.7},
    "volatility": {"target": "volatility"},
    "triple barrier": {"target": "triple_barrier", "barriers_atr": (1.5, 1.0)},
}
SCHEMES: dict[str, dict[str, Any]] = {
    "expanding": {"cv_scheme": "expanding", "cv_folds": 3},
    "rolling": {"cv_scheme": "rolling", "cv_folds": 3},
    "combinatorial": {"cv_scheme": "combinatorial", "cv_folds": 4, "cv_test_blocks": 2, "embargo": 3},
}
