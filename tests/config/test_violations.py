"""Wrong settings: an error has the field and the rule of each, and a line for each."""

import re
import unicodedata
from datetime import date
from typing import Any

import pytest

from builders.errors import raises
from cnn_lstm_hyperopt.config import Settings, load_settings
from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.utils.text import JOINERS, is_legible

NAN, INF = float("nan"), float("inf")

SETTINGS = [
    ("study.n_trials", 2.5, "int-from-float"),
    ("study.name", "", "string-too-short"),
    *(("study.name", name, "name-is-path") for name in ("a/b", "../../etc/passwd", "..")),
    ("study.name", " x", "outer-space"),
    *(("study.name", f"a{c}b", "name-not-printable") for c in "\n\x1b\x00\u202e\u200b\u200d\U000e0041"),
    ("study.seed", "1:30", "int-parsing"),
    ("study.directions", ["minimize", "minimize", "minimize"], "directions"),
    ("study.n_trails", 5, "unknown-setting"),
    ("study.enqueue", [{"cnn.dropout": 0.1}], "path-type"),
    ("data.source", None, "literal-error"),
    ("data.symbols", "AAPL", "tuple-type"),
    ("data.symbols", ["AAPL", "IBM", "AAPL"], "duplicate-symbol"),
    ("data.symbols", ["../A"], "not-a-symbol"),
    ("data.feature_columns", ["x" * 201], "not-a-column"),
    ("data.start", "03/01/2000", "date-from-datetime-parsing"),
    ("data.start", 20010203, "not-a-date"),
    ("data.end", "1066-10-14", "year-out-of-range"),
    *(("data.features", name, "not-a-reference") for name in ("nope", ":more", "mine:more:", "1:2")),
    ("data.start", "978307200", "not-a-date"),
    ("data.start", date(1, 1, 1), "year-out-of-range"),
    ("data.split", [0.7, 0.2, 0.2], "shares"),
    ("data.split", [1], "wrong-length"),
    ("data.barriers_atr", [2], "wrong-length"),
    *(("training.device", name, "not-a-device") for name in ("gpu", "cuda:\u0663")),
    ("training.learning_rate", 0.1, "unknown-setting"),
    ("sampler.type", "bayes", "literal-error"),
    ("sampler.probes", True, "probes"),
    ("limits.trial_seconds", 0, "out-of-range"),
    ("limits.trial_seconds", "soon", "float-parsing"),
    ("constraints.latency_ms", 0, "greater-than"),
    ("constraints.calibration_error", 1.1, "less-than-equal"),
    ("constraints.latency", 5, "unknown-setting"),
    ("evaluation.test_periods", 0, "greater-than-equal"),
    ("workers", 0, "greater-than-equal"),
    ("workers", 1025, "less-than-equal"),
    ("study.storage", "mysql://me@host/db", "not-a-storage-url"),
    ("study.storage", "postgresql://me:of/me@host/db", "bad-storage-url"),
    ("study.storage", "postgresql://me@host:port/db", "bad-storage-url"),
    ("study.storage", "postgresql://me@host:5432", "no-database-name"),
    ("study.storage", "postgresql://me@host/db?sslpassword=x", "sslpassword"),
    *(
        ("study.artifacts", url, "not-an-artifacts-url")
        for url in ("/x", "file://x/y", "s3://", "gs://bucket/x", " s3://bucket", "file:///", "https://host/x")
    ),
    *(
        ("study.artifacts", url, "bad-artifacts-url")
        for url in ("s3://key:secret@bucket/x", "s3://bucket/x?key=secret", "s3://bucket/x#y", "file:///x/../y")
    ),
    ("mlflow.tracking_uri", "ftp://host", "not-a-tracking-uri"),
    ("mlflow.tracking_uri", "sqlite:///:memory:", "database-in-memory"),
    ("mlflow.experiment", "a/b", "not-an-mlflow-name"),
    ("save_dir", " ", "empty-path"),
    ("save_dir", "s3://b/x", "not-local"),
    ("save_dir", "$HOME/x", "variable-in-path"),
    ("save_dir", "x" * 300, "path-too-long"),
    ("save_dir", "a\x00b", "path-not-printable"),
    ("save_dir", "~no-such-user/x", "no-such-user"),
    *((f"data.{name}", True, "boolean") for name in ("source", "data_dir")),
    *((name, True, "boolean") for name in ("study.name", "training.device", "save_dir", "search_space", "pruner")),
]

SPACES = [
    ("gnn", {}, "unknown-group"),
    ("cnn", None, "not-a-mapping"),
    ("cnn.filters", [1], "unknown-parameter"),
    ("cnn.dropout", [0.5, 0.1], "low-above-high"),
    ("cnn.dropout", [0.1, 0.2, 0.3], "not-a-range"),
    ("cnn.dropout", [0.1, 0.99], "out-of-range"),
    ("cnn.dropout", [False, 0.5], "not-a-number"),
    ("cnn.dropout", NAN, "not-a-number"),
    ("cnn.dropout", "nan", "not-a-number"),
    ("cnn.dropout", None, "not-a-number"),
    ("cnn.dropout", {"low": 0.1}, "domain-keys"),
    ("cnn.dropout", {"low": 0, "high": 0.5, "step": 0.1}, "domain-keys"),
    ("cnn.dropout", {"low": 0.1, "high": 0.5, "log": 1}, "log-not-boolean"),
    ("cnn.dropout", {"low": 0, "high": 0.5, "log": True}, "log-range-from-zero"),
    ("cnn.num_filters", [32.5], "not-an-integer"),
    ("cnn.num_filters", [0, 32], "out-of-range"),
    ("cnn.num_filters", [], "no-choices"),
    ("cnn.num_filters", [32, 32.0], "duplicate-choice"),
    ("cnn.num_filters", {"choices": 32}, "no-choices"),
    ("cnn.num_filters", ["\uff11\uff16"], "not-a-number"),
    ("cnn.num_filters", [*range(1, 101)], "too-many-choices"),
    ("cnn.filter_sizes", [[3] * 17], "too-many-sizes"),
    ("cnn.filter_sizes", [3, 5, 7], "not-lists-of-sizes"),
    ("cnn.filter_sizes", [[]], "not-filter-sizes"),
    ("cnn.filter_sizes", "3-5", "not-filter-sizes"),
    ("cnn.filter_sizes", [[3, 0]], "out-of-range"),
    ("cnn.filter_sizes", [[3, 4]], "even-filter-size"),
    ("cnn.filter_sizes", {"low": 1, "high": 3}, "no-range"),
    ("cnn.activation", ["relu", "tanh"], "unknown-option"),
    ("cnn.activation", [["relu"]], "unknown-option"),
    ("cnn.residual", "yes", "not-a-boolean"),
    ("cnn.residual", [0, 1], "not-a-boolean"),
    ("training.batch_size", 10**400, "not-a-number"),
    ("training.learning_rate", ["1e-5", "fast"], "not-a-number"),
    ("regularization.l1", [0.0, 1e-7], "log-range-from-zero"),  # nothing is left above the smallest value
    ("regularization.l2", [0, 1e-3], "log-range-from-zero"),
    ("cnn.attention_heads", [7], "head-count-divides-no-width"),  # others: test_space.py
]


def nested(path: str, value: Any) -> Any:
    for part in reversed(path.split(".")):
        value = {part: value}
    return value


def violations(raw: dict[str, Any]) -> list[tuple[str, str]]:
    """Fields and codes of the error; its text has a line for each."""
    with pytest.raises(ConfigError) as caught:
        load_settings(None, raw, {})
    found = [(each.field, each.code) for each in caught.value.violations]
    assert str(caught.value).count("\n") == (len(found) if len(found) > 1 else 0)
    assert "constrained" not in str(caught.value)
    return found


@pytest.mark.parametrize(("path", "value", "code"), SETTINGS, ids=lambda value: ascii(value)[:40])
def test_a_wrong_setting(path: str, value: Any, code: str) -> None:
    field = "data.symbols" if code == "not-a-symbol" else path
    assert violations(nested(path, value)) == [(field, code)]


@pytest.mark.parametrize(("path", "value", "code"), SPACES, ids=lambda value: ascii(value)[:40])
def test_a_wrong_parameter(path: str, value: Any, code: str) -> None:
    assert violations({"search_space": nested(path, value)}) == [(f"search_space.{path}", code)]


@pytest.mark.parametrize(
    ("data", "field", "code"),
    [
        ({"start": "2001-01-01", "end": "2001-01-01"}, "start", "start-not-before-end"),
        ({"horizon": 5, "purge": 4}, "purge", "purge-below-horizon"),
        ({"source": "files"}, "data_dir", "no-folder"),
        *(
            ({"source": name, "data_dir": "x"}, "data_dir", "two-sources")
            for name in ("synthetic", "embedded", "loaders")
        ),
        ({"source": "loaders", "feature_columns": ["x"]}, "feature_columns", "unused-with-loaders"),
        ({"cv_scheme": "combinatorial", "cv_folds": 2, "cv_test_blocks": 2}, "cv_test_blocks", "no-training-block"),
        ({"cv_scheme": "combinatorial", "cv_folds": 20, "cv_test_blocks": 3}, "cv_folds", "too-many-folds"),
    ],
)
def test_settings_that_contradict_each_other(data: dict[str, Any], field: str, code: str) -> None:
    assert violations({"data": data}) == [(f"data.{field}", code)]


def test_all_errors_are_reported_together() -> None:
    raw = {
        "study": {"n_trials": 0, "nam": "x"},
        "data": {"target": "price"},
        "search_space": {"cnn": {"dropout": 2, "filtres": 1}, "gnn": {}},
    }
    assert violations(raw) == [
        ("study.n_trials", "greater-than-equal"),
        ("study.nam", "unknown-setting"),
        ("data.target", "literal-error"),
        ("search_space.cnn.dropout", "out-of-range"),
        ("search_space.cnn.filtres", "unknown-parameter"),
        ("search_space.gnn", "unknown-group"),
    ]


def test_of_hundreds_of_errors_the_first_are_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(None, {"study": {f"k{number}": 1 for number in range(400)}}, {})
    assert len(caught.value.violations) == 400
    assert len(str(caught.value)) < 4_000


def test_only_joiners_are_legible_among_formatting_characters() -> None:
    found = {chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
    assert {letter for letter in found if is_legible(letter)} == JOINERS


NUMBERS = [
    f"{section}.{name}".rstrip(".")
    for section, field in Settings.model_fields.items()
    for name, inner in getattr(field.annotation, "model_fields", {"": field}).items()
    if re.search("int|float", str(inner.annotation)) and "tuple" not in str(inner.annotation)
]
"""Every setting that is a number, as its path."""


def test_the_numbers_are_all_found() -> None:
    assert {"study.n_trials", "study.timeout", "data.synthetic_seed", "limits.trial_seconds", "workers"} <= set(NUMBERS)
    assert len(NUMBERS) >= 20


@pytest.mark.parametrize("path", [*NUMBERS, "data.split"])
@pytest.mark.parametrize("value", [True, False, NAN, INF, -INF, "nan", "inf", -1, 1e300])
def test_booleans_nan_infinity_and_numbers_beyond_all_bounds_are_refused(path: str, value: Any) -> None:
    ((field, code),) = violations(nested(path, [0.5, 0.5, value] if path == "data.split" else value))
    assert field.removesuffix(".2") == path
    assert (code == "boolean") == (isinstance(value, bool) and path != "data.split")


SMALLEST = {"study.n_trials": 1, "study.timeout": 0.001, "study.seed": 0, "data.lookback": 2, "data.horizon": 1}
SMALLEST |= {"training.max_epochs": 1, "pruner.interval_steps": 1, "pruner.reduction_factor": 2}
SMALLEST |= {"retrain.top_k": 1, "workers": 1}


@pytest.mark.parametrize("path", SMALLEST)
def test_smallest_values(path: str) -> None:
    load_settings(None, nested(path, SMALLEST[path]), {})
    assert violations(nested(path, SMALLEST[path] * 0.5 if path == "study.timeout" else SMALLEST[path] - 1))


def test_data_loaders_have_no_test_periods():
    with raises(ConfigError, "periods-need-bars", "evaluation.test_periods"):
        load_settings({"data": {"source": "loaders"}, "evaluation": {"test_periods": 2}}, environment={})
