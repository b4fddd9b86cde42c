"""The section ``data``: bars, labels, windows and splits."""

import math
import re
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from cnn_lstm_hyperopt.config.schema.base import MAX_SECONDS, FunctionReference, InputDirectory, Section, legible_name
from cnn_lstm_hyperopt.utils.registry import declared
from cnn_lstm_hyperopt.utils.text import shown

Target = Literal["direction", "volatility", "triple_barrier"]
SOURCES = declared("data/sources")
"""What each source of bars says of itself, by name."""
if TYPE_CHECKING:
    SourceName = str
else:
    SourceName = Literal[(*SOURCES, "loaders")]
BadBars = Literal["error", "drop", "keep"]
CvScheme = Literal["expanding", "rolling", "combinatorial"]

_MAX_FOLDS = 50
"""A trial trains once for each."""

_Multiple = Annotated[float, Field(gt=0, le=1_000)]
_Names = Annotated[tuple[str, ...], BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


class DataSettings(Section):
    """Bars, the question asked of them, and how they are split."""

    source: SourceName = Field(
        "synthetic",
        description=", ".join(f"{name} ({facts['description']})" for name, facts in SOURCES.items()),
    )
    synthetic_seed: int = Field(0, ge=0, lt=2**32, description="another seed is another synthetic market")
    data_dir: InputDirectory = Field(None, description="folder of SYMBOL.csv or SYMBOL.parquet; implies source: files")
    symbols: _Names = Field((), description="which symbols; empty: all that the source has")
    start: date | None = Field(None, description="first date used; null: the first there is")
    end: date | None = Field(None, description="last date used; null: the last there is")
    on_bad_bars: BadBars = Field(
        "error",
        description="bars that can't be true (a high below the low, say): error, drop them, or keep them where that is possible",
    )
    feature_columns: _Names = Field(
        (), description="columns of the files that are inputs beside the eleven features, such as sentiment"
    )
    features: FunctionReference | None = Field(
        None,
        description="module:function that makes more features of a frame of bars; checked for looking ahead",
    )
    features_seconds: float = Field(
        600.0,
        gt=0,
        le=MAX_SECONDS,
        description="seconds that the check of the function may take; it runs in a process of its own, which is ended then",
    )
    target: Target = Field(
        "direction",
        description="direction of the next return, volatility of the next range, or triple_barrier: which of two prices, or the"
        " horizon, is reached first",
    )
    direction_classes: Literal[2, 3] = Field(
        2, description="direction: up or not; or up, down and what moves less than the dead zone"
    )
    dead_zone_atr: float = Field(
        0.25,
        gt=0,
        le=1_000,
        description="direction with 3 classes: half width of the dead zone, in average true ranges",
    )
    barriers_atr: tuple[_Multiple, _Multiple] = Field(
        (2.0, 2.0), description="triple_barrier: the upper and the lower one, in average true ranges from the close"
    )
    lookback: int = Field(60, ge=2, le=10_000, description="bars in a window")
    horizon: int = Field(1, ge=1, le=1_000, description="bars ahead that the label looks")
    split: tuple[float, float, float] = Field(
        (0.70, 0.15, 0.15),
        description="shares of the windows for training, validation and test, in order of time",
    )
    purge: int | None = Field(
        None,
        ge=0,
        le=1_000_000,
        description="bars left out before each cut, at least; null: as far as each label looks in training, and as far as the"
        " longest can (the horizon) in validation",
    )
    embargo: int = Field(
        0,
        ge=0,
        le=1_000_000,
        description="bars after a validation block that no fold trains on; matters in combinatorial folds",
    )
    cv_folds: Annotated[int, Field(ge=1, le=20)] | Literal["auto"] = Field(
        "auto",
        description="a trial's score is the mean over so many walk-forward folds (of DataLoaders without dates: stratified by"
        " class); 1: validation as split says; combinatorial: number of blocks, which make C(cv_folds, cv_test_blocks) folds;"
        " auto: 5 for DataLoaders with fewer than 500 validation windows, else 1",
    )
    cv_scheme: CvScheme = Field(
        "expanding",
        description="folds train on all before their validation block, on a rolling stretch, or (combinatorial) cv_folds blocks"
        " are held out in all combinations of cv_test_blocks",
    )
    cv_test_blocks: int = Field(2, ge=1, le=10, description="combinatorial: blocks that each fold holds out")
    max_gap_days: float = Field(10.0, gt=0, le=36_500, description="a longer hole in the bars starts a new segment")
    train_share: Annotated[float, Field(gt=0, le=1)] | Literal["auto"] = Field(
        "auto",
        description="share of the training windows that trials use, evenly spread (finalists use all); auto: the largest of 1,"
        " 1/2, 1/4 and 1/8 at which half of the search space keeps limits.trial_seconds",
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
            raise ValueError(f"names a symbol twice: {shown(twice)}; leave one of them out")
        for name in value:
            legible_name(name)
            if not 0 < len(name) <= 100 or "\\" in name or name.startswith("/") or {".", ".."} & set(name.split("/")):
                raise ValueError(f"must be names such as AAPL and no paths, but got {shown(name)}")
        return value

    @field_validator("feature_columns")
    @classmethod
    def _named(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            legible_name(name)
            if not 0 < len(name) <= 200:
                raise ValueError(f"must be names of columns, but got {shown(name)}")
        return value

    @field_validator("start", "end", mode="before")
    @classmethod
    def _no_number(cls, value: Any) -> Any:
        if isinstance(value, str) and re.fullmatch(r"[0-9]{8}", value):
            value = f"{value[:4]}-{value[4:6]}-{value[6:]}"
        if isinstance(value, (int, float)) or (isinstance(value, str) and _is_number(value)):
            # pydantic would count seconds from 1970
            raise ValueError(f"must be a date such as 2001-02-03, but got {shown(value)}")
        return value

    @field_validator("start", "end")
    @classmethod
    def _of_this_era(cls, value: date | None) -> date | None:
        if value is not None and not 1700 <= value.year <= 2200:
            raise ValueError(f"must lie between the years 1700 and 2200, but got {value}")
        return value

    @field_validator("split")
    @classmethod
    def _sums_to_one(cls, value: tuple[float, float, float]) -> tuple[float, float, float]:
        if min(value) <= 0 or abs(sum(value) - 1) > 1e-6:
            raise ValueError(
                f"must be three positive shares that add up to 1, such as [0.7, 0.15, 0.15], not {list(value)}"
            )
        return value

    @model_validator(mode="after")
    def _consistent(self) -> "DataSettings":
        if self.start and self.end and self.start >= self.end:
            raise ValueError(f"start must be before end, but got start={self.start}, end={self.end}")
        if self.purge is not None and self.purge < self.horizon:
            raise ValueError(
                f"purge must be at least the horizon, or training labels reach into validation and test;"
                f" got purge={self.purge}, horizon={self.horizon}"
            )
        self._check_folds()
        if self.source == "files" and self.data_dir is None:
            raise ValueError("source: files needs data_dir, the folder with SYMBOL.csv or SYMBOL.parquet")
        if self.source != "files" and self.data_dir is not None:
            raise ValueError(
                f"data_dir is read with source: files only; leave out one of source: {self.source} and data_dir"
            )
        return self

    def _check_folds(self) -> None:
        if self.source == "loaders":
            own = {"feature_columns": self.feature_columns, "features": self.features}
            if any(own.values()):
                raise ValueError(
                    f"{', '.join(name for name, given in own.items() if given)}: data_loaders come with their features; leave it"
                    " out, or give bars instead of data_loaders"
                )
        if self.cv_scheme != "combinatorial":
            return
        if self.cv_test_blocks >= self.bar_folds:
            raise ValueError(
                "cv_test_blocks must be less than cv_folds, or nothing is left to train on;"
                f" got cv_test_blocks={self.cv_test_blocks}, cv_folds={self.cv_folds}"
            )
        folds = math.comb(self.bar_folds, self.cv_test_blocks)
        if folds > _MAX_FOLDS:
            raise ValueError(
                f"cv_folds={self.cv_folds} with cv_test_blocks={self.cv_test_blocks} make {folds} folds, and a trial trains once"
                f" for each: {_MAX_FOLDS} at most; take fewer cv_folds, or cv_test_blocks: 1"
            )

    @property
    def bar_folds(self) -> int:
        """``cv_folds`` of bars, whose validation is as large as ``split`` says: ``auto`` is 1."""
        return 1 if self.cv_folds == "auto" else self.cv_folds

    @property
    def purge_bars(self) -> int:
        """Bars that must follow a decision before the next cut for it to be judged: as far as the longest label can look, or
        ``purge``. Training windows of the triple barrier need as many as their own label looks only, unless ``purge`` says more.
        """
        return self.horizon if self.purge is None else self.purge
