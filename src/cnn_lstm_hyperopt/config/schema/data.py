"""The section ``data``: bars, labels, windows and splits."""

import math
import re
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from cnn_lstm_hyperopt.config.schema.base import (
    MAX_SECONDS,
    FunctionReference,
    InputDirectory,
    Names,
    Section,
    SettingError,
    legible_name,
)
from cnn_lstm_hyperopt.utils.registry import declared, described
from cnn_lstm_hyperopt.utils.text import shown

Target = Literal["direction", "volatility", "triple_barrier"]
SOURCES = declared("data/sources")
"""Properties of each source of bars, by the name of the source."""
if TYPE_CHECKING:
    SourceName = str
else:
    SourceName = Literal[(*SOURCES, "loaders")]
BadBars = Literal["error", "drop", "keep"]
CvScheme = Literal["expanding", "rolling", "combinatorial"]

_MAX_FOLDS = 50
"""Maximum number of folds. Each trial trains one network for each fold."""

_Multiple = Annotated[float, Field(gt=0, le=1_000)]
_Names = Annotated[tuple[str, ...], Names]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


class DataSettings(Section):
    """Bars, labels, windows and splits."""

    source: SourceName = Field(
        "synthetic",
        description=f"source of the bars: {described(SOURCES)}",
    )
    synthetic_seed: int = Field(0, ge=0, lt=2**32, description="seed of the synthetic market")
    data_dir: InputDirectory = Field(
        None, description="folder with a file SYMBOL.csv or SYMBOL.parquet for each symbol; implies source: files"
    )
    symbols: _Names = Field((), description="symbols to use; empty: all symbols of the source")
    start: date | None = Field(None, description="first date to use; null: the first date of the data")
    end: date | None = Field(None, description="last date to use; null: the last date of the data")
    on_bad_bars: BadBars = Field(
        "error",
        description="what to do with invalid bars, such as a high below the low: error (stop), drop (remove them), or "
        "keep (keep them where possible)",
    )
    exchange: Annotated[str, Field(min_length=1, max_length=50)] | None = Field(
        None,
        description="calendar of the exchange, such as XNYS, XLON or CMES (extra calendars): its sessions without bars and "
        "bars on its holidays cause a warning; null: no comparison",
    )
    feature_columns: _Names = Field(
        (),
        description="columns of the files to use as inputs in addition to the built-in features, such as sentiment",
    )
    features: FunctionReference | None = Field(
        None,
        description="module:function that computes additional features from a DataFrame of bars. The function is checked "
        "for look-ahead",
    )
    features_seconds: float = Field(
        600.0,
        gt=0,
        le=MAX_SECONDS,
        description="time limit in seconds for the look-ahead check of features. The check runs in a separate process, "
        "which is stopped at the limit",
    )
    target: Target = Field(
        "direction",
        description="what to predict: direction (of the next return), volatility (of the next range), or triple_barrier "
        "(what comes first: the upper price, the lower price or the horizon)",
    )
    direction_classes: Literal[2, 3] = Field(
        2,
        description="number of classes of the direction target: 2 (up, or not up) or 3 (up, down, or within the dead "
        "zone)",
    )
    dead_zone_atr: float = Field(
        0.25,
        gt=0,
        le=1_000,
        description="half width of the dead zone in average true ranges (direction target with 3 classes)",
    )
    barriers_atr: tuple[_Multiple, _Multiple] = Field(
        (2.0, 2.0),
        description="distances of the upper and the lower barrier from the close, in average true ranges (triple_barrier "
        "target)",
    )
    lookback: int = Field(60, ge=2, le=10_000, description="number of bars in a window")
    horizon: int = Field(1, ge=1, le=1_000, description="number of bars that the label looks ahead")
    split: tuple[float, float, float] = Field(
        (0.70, 0.15, 0.15),
        description="shares of the windows for training, validation and test, in chronological order",
    )
    purge: int | None = Field(
        None,
        ge=0,
        le=1_000_000,
        description="minimum number of bars to leave out at the end of training and at the end of validation; null: at the "
        "end of training, the number of bars that each label looks ahead; at the end of validation, the horizon",
    )
    embargo: int = Field(
        0,
        ge=0,
        le=1_000_000,
        description="number of bars after a validation block that no fold trains on; has an effect only with combinatorial folds",
    )
    cv_folds: Annotated[int, Field(ge=1, le=20)] | Literal["auto"] = Field(
        "auto",
        description="number of walk-forward folds; a trial's score is the mean over the folds. 1: a single validation set, as "
        "in split. auto: 5 for DataLoaders with fewer than 500 validation windows, otherwise 1. For "
        "DataLoaders without dates, the folds are stratified by class. For cv_scheme combinatorial: number of "
        "blocks, which give C(cv_folds, cv_test_blocks) folds",
    )
    cv_scheme: CvScheme = Field(
        "expanding",
        description="training windows of each fold: expanding (all windows before the validation block), rolling (a fixed "
        "number of windows directly before the block), or combinatorial (all windows except the held-out blocks; each "
        "combination of cv_test_blocks out of cv_folds blocks is held out once)",
    )
    cv_test_blocks: int = Field(2, ge=1, le=10, description="number of blocks that each combinatorial fold holds out")
    max_gap_days: float = Field(
        10.0,
        gt=0,
        le=36_500,
        description="maximum gap between two bars in days. A longer gap starts a new segment, and no window crosses it",
    )
    train_share: Annotated[float, Field(gt=0, le=1)] | Literal["auto"] = Field(
        "auto",
        description="share of the training windows that trials use, evenly spaced; retrained models use all windows. auto: the "
        "largest of 1, 1/2, 1/4 and 1/8 at which half of the search space meets limits.trial_seconds",
    )

    @model_validator(mode="before")
    @classmethod
    def _a_folder_means_files(cls, raw: Any) -> Any:
        if isinstance(raw, dict) and raw.get("data_dir") is not None and raw.get("source") is None:
            return {**raw, "source": "files"}
        return raw

    @field_validator("symbols")
    @classmethod
    def _unique(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) != len(value):
            twice = next(name for name in value if value.count(name) > 1)
            raise SettingError(f"names a symbol twice: {shown(twice)}; remove one", "duplicate-symbol")
        for name in value:
            legible_name(name)
            if not 0 < len(name) <= 100 or "\\" in name or name.startswith("/") or {".", ".."} & set(name.split("/")):
                raise SettingError(f"must be names such as AAPL, not paths, but got {shown(name)}", "not-a-symbol")
        return value

    @field_validator("feature_columns")
    @classmethod
    def _named(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            legible_name(name)
            if not 0 < len(name) <= 200:
                raise SettingError(f"must be names of columns, but got {shown(name)}", "not-a-column")
        return value

    @field_validator("start", "end", mode="before")
    @classmethod
    def _no_number(cls, value: Any) -> Any:
        if isinstance(value, str) and re.fullmatch(r"[0-9]{8}", value):
            value = f"{value[:4]}-{value[4:6]}-{value[6:]}"
        if isinstance(value, (int, float)) or (isinstance(value, str) and _is_number(value)):
            # pydantic reads a number as seconds since 1970
            raise SettingError(f"must be a date such as 2001-02-03, but got {shown(value)}", "not-a-date")
        return value

    @field_validator("start", "end")
    @classmethod
    def _of_this_era(cls, value: date | None) -> date | None:
        if value is not None and not 1700 <= value.year <= 2200:
            raise SettingError(f"must be between the years 1700 and 2200, but got {value}", "year-out-of-range")
        return value

    @field_validator("split")
    @classmethod
    def _sums_to_one(cls, value: tuple[float, float, float]) -> tuple[float, float, float]:
        if min(value) <= 0 or abs(sum(value) - 1) > 1e-6:
            raise SettingError(
                f"must be three positive shares that add up to 1, such as [0.7, 0.15, 0.15], not {list(value)}",
                "shares",
            )
        return value

    @model_validator(mode="after")
    def _consistent(self) -> "DataSettings":
        if self.start and self.end and self.start >= self.end:
            raise SettingError(
                f"start must be before end, but got start={self.start}, end={self.end}", "start-not-before-end", "start"
            )
        if self.purge is not None and self.purge < self.horizon:
            raise SettingError(
                f"purge must be at least the horizon, or training labels reach into validation and test;"
                f" got purge={self.purge}, horizon={self.horizon}",
                "purge-below-horizon",
                "purge",
            )
        self._check_folds()
        if self.source == "files" and self.data_dir is None:
            raise SettingError(
                "source: files needs data_dir, the folder with SYMBOL.csv or SYMBOL.parquet", "no-folder", "data_dir"
            )
        if self.source != "files" and self.data_dir is not None:
            raise SettingError(
                f"data_dir is read with source: files only; remove source: {self.source} or data_dir",
                "two-sources",
                "data_dir",
            )
        return self

    def _check_folds(self) -> None:
        if self.source == "loaders":
            own = [name for name in ("feature_columns", "features") if getattr(self, name)]
            if own:
                raise SettingError(
                    f"{', '.join(own)}: data_loaders bring their own features; remove the setting, or give bars instead of"
                    " data_loaders",
                    "unused-with-loaders",
                    own[0],
                )
        if self.cv_scheme != "combinatorial":
            return
        if self.cv_test_blocks >= self.bar_folds:
            raise SettingError(
                "cv_test_blocks must be less than cv_folds, or nothing is left to train on;"
                f" got cv_test_blocks={self.cv_test_blocks}, cv_folds={self.cv_folds}",
                "no-training-block",
                "cv_test_blocks",
            )
        folds = math.comb(self.bar_folds, self.cv_test_blocks)
        if folds > _MAX_FOLDS:
            raise SettingError(
                f"cv_folds={self.cv_folds} with cv_test_blocks={self.cv_test_blocks} make {folds} folds, but at most {_MAX_FOLDS}"
                " are allowed, because a trial trains once per fold; lower cv_folds, or set cv_test_blocks: 1",
                "too-many-folds",
                "cv_folds",
            )

    @property
    def is_named(self) -> bool:
        """True if a flag, an environment variable or a file names the data. If false, the synthetic market is used."""
        return not self.model_fields_set.isdisjoint({"source", "symbols"})

    @property
    def bar_folds(self) -> int:
        """Number of folds for bars: ``cv_folds``, with ``auto`` replaced by 1."""
        return 1 if self.cv_folds == "auto" else self.cv_folds

    @property
    def purge_bars(self) -> int:
        """Minimum number of bars between a window and the next boundary of a split: ``purge`` if it is set, else the horizon.

        With the target triple barrier, a training window needs only as many bars as its own label looks ahead, or ``purge``.
        """
        return self.horizon if self.purge is None else self.purge
