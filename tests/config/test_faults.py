"""Wrong settings: every message names the field, the rule and the value; all faults of a file are shown together."""

import unicodedata
from typing import Any

import pytest

from cnn_lstm_hyperopt.config import Settings, load_settings
from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.utils.text import JOINERS, is_legible

NAN, INF = float("nan"), float("inf")

SETTING_FAULTS = [
    ({"study": {"n_trials": 0}}, ["study.n_trials", "greater than or equal to 1", "got 0"]),
    ({"study": {"n_trials": 2.5}}, ["study.n_trials", "integer", "got 2.5"]),
    ({"study": {"n_trials": "many"}}, ["study.n_trials", "integer", "got 'many'"]),
    ({"study": {"timeout": 0}}, ["study.timeout", "greater than or equal to 0.001", "got 0"]),
    ({"study": {"timeout": NAN}}, ["study.timeout", "got nan"]),
    ({"study": {"seed": -1}}, ["study.seed", "greater than or equal to 0", "got -1"]),
    ({"study": {"seed": 2**32}}, ["study.seed", "less than 4294967296", "got 4294967296"]),
    ({"study": {"name": ""}}, ["study.name", "at least 1 character", "got ''"]),
    ({"study": {"name": 5}}, ["study.name must be text, but got 5; put it in quotes"]),
    (
        {"study": {"directions": ["minimize", "minimize", "minimize"]}},
        ["study.directions must be ['maximize', 'minimize', 'minimize']"],
    ),
    ({"study": {"n_trails": 5}}, ["study.n_trails is not a setting; study has name, n_trials"]),
    ({"studdy": {}}, ["studdy is not a setting; the file has study, data"]),
    ({"study": 5}, ["study must hold settings (name, n_trials, ", "), but got 5"]),
    (
        {"data": {"source": "bloomberg"}},
        ["data.source", "'synthetic', 'embedded', 'files', 'yahoo' or 'loaders'", "got 'bloomberg'"],
    ),
    (
        {"data": {"source": None}},
        ["data.source", "'synthetic', 'embedded', 'files', 'yahoo' or 'loaders'", "got nothing"],
    ),
    ({"data": {"synthetic_seed": -1}}, ["data.synthetic_seed", "greater than or equal to 0", "got -1"]),
    ({"data": {"synthetic_seed": 2**32}}, ["data.synthetic_seed", "less than 4294967296", "got 4294967296"]),
    ({"data": {"source": "files"}}, ["data", "source: files needs data_dir"]),
    *(
        (
            {"data": {"source": name, "data_dir": "x"}},
            ["data_dir is read with source: files only", f"leave out one of source: {name} and data_dir"],
        )
        for name in ("synthetic", "embedded", "loaders")
    ),
    ({"data": {"symbols": "AAPL"}}, ["data.symbols must be a list, but got 'AAPL'"]),
    (
        {"data": {"symbols": ["AAPL", "IBM", "AAPL"]}},
        ["data.symbols names a symbol twice: 'AAPL'; leave one of them out"],
    ),
    ({"data": {"symbols": [True]}}, ["data.symbols.0 must be text, but got True; put it in quotes"]),
    ({"data": {"start": "03/01/2000"}}, ["data.start", "date", "got '03/01/2000'"]),
    (
        {"data": {"start": "2001-01-01", "end": "2001-01-01"}},
        ["start must be before end", "start=2001-01-01, end=2001-01-01"],
    ),
    ({"data": {"target": "price"}}, ["data.target", "'direction', 'volatility' or 'triple_barrier'", "got 'price'"]),
    *(
        ({"data": {"features": name}}, [f"data.features must be module:function, such as mine:more, but got {name!r}"])
        for name in ("nope", ":more", "mine:", "mine:more:", "1:2")
    ),
    ({"data": {"lookback": 1}}, ["data.lookback", "greater than or equal to 2", "got 1"]),
    ({"data": {"horizon": 0}}, ["data.horizon", "greater than or equal to 1", "got 0"]),
    ({"data": {"horizon": 5, "purge": 4}}, ["purge must be at least the horizon", "purge=4, horizon=5"]),
    ({"data": {"split": [0.7, 0.2, 0.2]}}, ["data.split must be three positive shares", "[0.7, 0.2, 0.2]"]),
    ({"data": {"split": [0.7, 0.3, 0.0]}}, ["data.split must be three positive shares"]),
    ({"data": {"split": [0.7, 0.3]}}, ["data.split must be a list of 3 values, but got [0.7, 0.3]"]),
    ({"data": {"split": [1]}}, ["data.split must be a list of 3 values, but got [1]"]),
    ({"data": {"barriers_atr": [2]}}, ["data.barriers_atr must be a list of 2 values, but got [2]"]),
    ({"data": {"max_gap_days": 0}}, ["data.max_gap_days", "greater than 0"]),
    ({"data": {"train_share": 1.5}}, ["data.train_share", "less than or equal to 1", "got 1.5"]),
    ({"training": {"max_epochs": 0}}, ["training.max_epochs", "greater than or equal to 1"]),
    ({"training": {"device": "gpu"}}, ["training.device", "cpu", "got 'gpu'"]),
    ({"training": {"learning_rate": 0.1}}, ["training.learning_rate is not a setting"]),
    (
        {"pruner": {"type": "hyperband"}},
        ["pruner.type", "'auto', 'median', 'successive_halving', 'front' or 'none'", "got 'hyperband'"],
    ),
    ({"pruner": {"interval_steps": 0}}, ["pruner.interval_steps", "greater than or equal to 1"]),
    ({"pruner": {"min_resource": 0}}, ["pruner.min_resource", "greater than 0", "got 0"]),
    ({"pruner": {"reduction_factor": 1}}, ["pruner.reduction_factor", "greater than or equal to 2", "got 1"]),
    ({"pruner": {"min_early_stopping_rate": -1}}, ["pruner.min_early_stopping_rate", "greater than or equal to 0"]),
    (
        {"sampler": {"type": "bayes"}},
        ["sampler.type", "'auto', 'tpe', 'cmaes', 'random', 'nsga2' or 'gp'", "got 'bayes'"],
    ),
    (
        {"sampler": {"n_startup_trials": -1}},
        ["sampler.n_startup_trials", "greater than or equal to 0", "'auto'", "got -1"],
    ),
    ({"sampler": {"probes": True}}, ["sampler", "probes are gone"]),
    ({"study": {"portfolio": "often"}}, ["study.portfolio", "boolean", "got 'often'"]),
    ({"study": {"enqueue": [{"cnn.dropout": 0.1}]}}, ["study.enqueue must be a path, but got [{'cnn.dropout': 0.1}]"]),
    ({"sampler": {"multivariate": "maybe"}}, ["sampler.multivariate", "boolean", "got 'maybe'"]),
    (
        {"limits": {"trial_seconds": 0}},
        ["limits.trial_seconds must be above 0 and at most 1e+09, auto or null, but got 0"],
    ),
    ({"limits": {"trial_seconds": "soon"}}, ["limits.trial_seconds", "'auto'", "got 'soon'"]),
    ({"retrain": {"top_k": 0}}, ["retrain.top_k", "greater than or equal to 1"]),
    ({"workers": 0}, ["workers", "greater than or equal to 1", "'auto'", "got 0"]),
    ({"workers": 1025}, ["workers", "less than or equal to 1024", "got 1025"]),
    ({"workers": 1.5}, ["workers", "integer", "got 1.5"]),
    ({"workers": "all"}, ["workers", "'auto'", "got 'all'"]),
]

SPACE_FAULTS = [
    (
        {"gnn": {}},
        "search_space.gnn is not a group; choose from augmentation, cnn, fusion, lstm, multi_task, regularization, training",
    ),
    ({"cnn": None}, "search_space.cnn must hold parameter names, but got nothing"),
    ({"cnn": {"filters": [1]}}, "search_space.cnn.filters is not a parameter; cnn has num_filters, filter_sizes"),
    ({"cnn": {"dropout": [0.5, 0.1]}}, "search_space.cnn.dropout must have low ≤ high, but got low=0.5, high=0.1"),
    ({"cnn": {"dropout": [0.1, 0.2, 0.3]}}, "search_space.cnn.dropout must be [low, high], but got [0.1, 0.2, 0.3]"),
    ({"cnn": {"dropout": [0.1, 0.99]}}, "search_space.cnn.dropout must lie between 0 and 0.95, but got 0.99"),
    ({"cnn": {"dropout": [False, 0.5]}}, "search_space.cnn.dropout must be a number, but got False"),
    ({"cnn": {"dropout": NAN}}, "search_space.cnn.dropout must be a number, but got nan"),
    ({"cnn": {"dropout": [0.1, INF]}}, "search_space.cnn.dropout must be a number, but got inf"),
    ({"cnn": {"dropout": "nan"}}, "search_space.cnn.dropout must be a number, but got nan"),
    ({"cnn": {"dropout": "some"}}, "search_space.cnn.dropout must be a number, but got 'some'"),
    ({"cnn": {"dropout": None}}, "search_space.cnn.dropout must be a number, but got nothing"),
    ({"cnn": {"dropout": {"low": 0.1}}}, "search_space.cnn.dropout must be {low, high, log}, {choices: [...]} or"),
    ({"cnn": {"dropout": {}}}, "but has the keys []"),
    ({"cnn": {"dropout": {"low": 0, "high": 0.5, "step": 0.1}}}, "but has the keys ['high', 'low', 'step']"),
    ({"cnn": {"dropout": {"low": 0.1, "high": 0.5, "log": 1}}}, "cnn.dropout log must be true or false, but got 1"),
    ({"cnn": {"dropout": {"low": 0, "high": 0.5, "log": True}}}, "cnn.dropout is a log range and needs low > 0"),
    ({"cnn": {"num_filters": [32.5]}}, "search_space.cnn.num_filters must be a whole number, but got 32.5"),
    ({"cnn": {"num_filters": [0, 32]}}, "search_space.cnn.num_filters must lie between 1 and 4096, but got 0"),
    ({"cnn": {"num_filters": []}}, "search_space.cnn.num_filters needs a list with at least one choice, but got []"),
    ({"cnn": {"num_filters": [32, 32.0]}}, "search_space.cnn.num_filters has a choice twice: [32, 32.0]"),
    ({"cnn": {"num_filters": {"choices": 32}}}, "needs a list with at least one choice, but got 32"),
    ({"cnn": {"filter_sizes": [3, 5, 7]}}, "search_space.cnn.filter_sizes must be a list of lists such as [[3, 5, 7]]"),
    ({"cnn": {"filter_sizes": [[]]}}, "search_space.cnn.filter_sizes must be a list of filter sizes such as [3, 5, 7]"),
    ({"cnn": {"filter_sizes": "3-5"}}, "search_space.cnn.filter_sizes must be a list of filter sizes"),
    ({"cnn": {"filter_sizes": [[3, 0]]}}, "search_space.cnn.filter_sizes must lie between 1 and 255, but got 0"),
    ({"cnn": {"filter_sizes": [[3, 4]]}}, "search_space.cnn.filter_sizes must be odd filter sizes"),
    ({"cnn": {"filter_sizes": {"low": 1, "high": 3}}}, "search_space.cnn.filter_sizes has no range; give a list"),
    ({"cnn": {"activation": ["relu", "tanh"]}}, "cnn.activation must be one of relu, gelu, swish, but got 'tanh'"),
    ({"cnn": {"activation": [["relu"]]}}, "cnn.activation must be one of relu, gelu, swish, but got ['relu']"),
    ({"cnn": {"residual": "yes"}}, "search_space.cnn.residual must be true or false, but got 'yes'"),
    ({"cnn": {"residual": [0, 1]}}, "search_space.cnn.residual must be true or false, but got 0"),
    ({"cnn": {"dropout": [0.1, 0.2, 0.3]}}, "search_space.cnn.dropout must be [low, high], but got [0.1, 0.2, 0.3]"),
    ({"lstm": {"num_layers": [0, 2]}}, "search_space.lstm.num_layers must lie between 1 and 16, but got 0"),
    (
        {"training": {"weight_decay": [0, 1e-3]}},
        "training.weight_decay is a log range and needs low > 0, but got low=0",
    ),
    (
        {"regularization": {"l1": [0.0, 1e-7]}},  # nothing is left above the least that its switch can mean
        "regularization.l1 is a log range and needs low > 0, but got low=0.0",
    ),
    ({"regularization": {"l1": [0, 2]}}, "search_space.regularization.l1 must lie between 0 and 1, but got 2"),
    ({"regularization": {"l2": [0, 1e-3]}}, "regularization.l2 is a log range and needs low > 0, but got low=0"),
    (
        {"regularization": {"l1_switch": "on"}},
        "search_space.regularization.l1_switch must be true or false, but got 'on'",
    ),
    (
        {"regularization": {"dropout_schedule": ["step"]}},
        "regularization.dropout_schedule must be one of constant, linear, cosine, but got 'step'",
    ),
    (
        {"regularization": {"l3": 1}},
        "regularization.l3 is not a parameter; regularization has l1_switch, l1, l2, dropout_schedule, label_smoothing",
    ),
    (
        {"multi_task": {"balancing": "gradnorm"}},
        "multi_task.balancing must be one of fixed, dynamic, uncertainty, but got 'gradnorm'",
    ),
    ({"augmentation": {"switch": 1}}, "search_space.augmentation.switch must be true or false, but got 1"),
    ({"augmentation": {"jitter": [0, 11]}}, "search_space.augmentation.jitter must lie between 0 and 10, but got 11"),
    (
        {"augmentation": {"time_masking": [0, 1.5]}},
        "search_space.augmentation.time_masking must lie between 0 and 1, but got 1.5",
    ),
    ({"augmentation": {"mixup": -0.1}}, "search_space.augmentation.mixup must lie between 0 and 10, but got -0.1"),
    (
        {"augmentation": {"noise": 1}},
        "augmentation.noise is not a parameter; augmentation has switch, jitter, scaling, time_masking, mixup",
    ),
    ({"training": {"learning_rate": ["1e-5", "fast"]}}, "training.learning_rate must be a number, but got 'fast'"),
    ({"training": {"batch_size": True}}, "search_space.training.batch_size must be a number, but got True"),
    (
        {"cnn": {"attention_heads": [7]}},
        "cnn.attention_heads must divide the width 96 of cnn.num_filters=32, cnn.filter_sizes=3-5-7, but none of [7]",
    ),
    ({"lstm": {"attention_heads": [3]}}, "lstm.attention_heads must divide the width 64 of lstm.hidden_dim=64"),
    (
        {"fusion": {"dim": [102, 128]}},
        "fusion.attention_heads must divide the width 102 of fusion.dim=102, but none of",
    ),
]


@pytest.mark.parametrize(("raw", "fragments"), SETTING_FAULTS)
def test_a_wrong_setting_names_field_rule_and_value(faults_of, raw, fragments):
    text = faults_of(raw)
    for fragment in fragments:
        assert fragment in text


@pytest.mark.parametrize(("space", "fragment"), SPACE_FAULTS)
def test_a_wrong_search_space_names_field_rule_and_value(faults_of, space, fragment):
    text = faults_of({"search_space": space})
    assert fragment in text
    assert "\n" not in text


def test_a_width_that_some_head_count_divides_is_no_fault():
    load_settings(None, {"search_space": {"fusion": {"dim": [100]}}})  # 4 divides it


@pytest.mark.parametrize(
    "space",
    [
        {"cnn": {"attention": False, "attention_heads": [7]}},
        {"lstm": {"attention": False, "hidden_dim": [63], "bidirectional": False}},
        {"fusion": {"method": ["gated", "bilinear"], "dim": [101]}},
    ],
)
def test_head_counts_that_are_never_used_need_not_divide(space):
    load_settings(None, {"search_space": space})


def test_all_faults_are_shown_together_each_on_its_line(read_text):
    text = """
study: {n_trials: 0, seed: -1, nam: x}
data: {lookback: 1, target: price}
sampler: {type: bayes}
"""
    with pytest.raises(ConfigError) as caught:
        read_text(text)
    head, *lines = str(caught.value).split("\n")
    assert head.endswith("my.yaml: 6 settings are wrong:")
    assert [line.split(" must ")[0].split(" is ")[0].strip() for line in lines] == [
        "study.n_trials",
        "study.seed",
        "study.nam",
        "data.target",
        "data.lookback",
        "sampler.type",
    ]


def test_all_faults_of_a_search_space_are_shown_together(faults_of):
    text = faults_of(
        {
            "search_space": {
                "cnn": {"dropout": 2, "filtres": 1, "residual": 1},
                "gnn": {},
                "training": {"optimizer": "x"},
            }
        }
    )
    head, *lines = text.split("\n")
    assert head == "5 settings are wrong:"
    assert all(line.startswith("  search_space.") for line in lines)


def test_a_single_fault_stands_on_one_line_behind_its_file(read_text):
    with pytest.raises(ConfigError, match=r"^\S+my.yaml: study.n_trials must be .*, but got 0$"):
        read_text("study: {n_trials: 0}")


def test_no_character_that_formats_what_is_around_it_is_legible():
    """But for the joiners of Persian words and of emoji."""
    found = {chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
    assert {letter for letter in found if is_legible(letter)} == JOINERS


# ---------------------------------------------------------------------- known defects, reported


def test_faults_of_the_search_space_are_shown_beside_others(faults_of):
    text = faults_of({"study": {"n_trials": 0}, "search_space": {"cnn": {"dropout": 2}}})
    assert "study.n_trials" in text
    assert "search_space.cnn.dropout" in text


def is_number(field: Any) -> bool:
    kinds = str(field.annotation)
    return ("int" in kinds or "float" in kinds) and "tuple" not in kinds


NUMBERS = [
    f"{section}.{name}".rstrip(".")
    for section, field in Settings.model_fields.items()
    for name, inner in getattr(field.annotation, "model_fields", {"": field}).items()
    if is_number(inner)
]
"""Every setting that holds a number, as its path."""


def nested(path, value):
    for part in reversed(path.split(".")):
        value = {part: value}
    return value


def test_the_numbers_are_all_found():
    assert {"study.n_trials", "study.timeout", "data.synthetic_seed", "limits.trial_seconds", "workers"} <= set(NUMBERS)
    assert len(NUMBERS) >= 20


@pytest.mark.parametrize("path", NUMBERS)
def test_true_and_false_are_no_numbers(faults_of, path):
    for value, word in ((True, "true"), (False, "false")):
        assert faults_of(nested(path, value)) == f"{path} must not be {word}"


@pytest.mark.parametrize(
    "path", ["data.source", "data.data_dir", "study.name", "training.device", "save_dir", "search_space", "pruner"]
)
def test_true_is_no_text_and_no_section_either(faults_of, path):
    assert faults_of(nested(path, True)) == f"{path} must not be true"


@pytest.mark.parametrize("path", ["sampler.multivariate", "retrain.enabled"])
def test_true_is_a_switch(path):
    value = load_settings(None, nested(path, True))
    for part in path.split("."):
        value = getattr(value, part)
    assert value is True


@pytest.mark.parametrize("path", NUMBERS)
@pytest.mark.parametrize("value", [NAN, INF, -INF, "nan", "inf"])
def test_nan_and_infinity_are_no_numbers(faults_of, path, value):
    text = faults_of(nested(path, value))
    assert path in text
    assert f"got {value!r}" in text


@pytest.mark.parametrize("share", [NAN, INF, -INF])
def test_a_share_is_finite(faults_of, share):
    assert f"data.split.2 must be a finite number, but got {share}" in faults_of({"data": {"split": [0.5, 0.5, share]}})


@pytest.mark.parametrize("value", [0, 2000, 1.5, "all", NAN])
def test_workers_are_named_as_users_know_them(faults_of, value):
    text = faults_of({"workers": value})
    assert text.startswith("workers must be ")
    assert "constrained" not in text


@pytest.mark.parametrize("raw", [{"workers": 0}, {"limits": {"trial_seconds": "soon"}}])
def test_a_setting_with_two_kinds_of_values_is_one_fault_on_one_line(faults_of, raw):
    assert "\n" not in faults_of(raw)


def test_a_number_beyond_all_floats_is_a_config_error():
    with pytest.raises(ConfigError):
        load_settings(None, {"search_space": {"training": {"batch_size": 10**400}}})


def test_an_override_does_not_hide_a_section_that_is_none(read_text):
    with pytest.raises(ConfigError):
        read_text("study: 5", {"study": {"n_trials": 3}})
