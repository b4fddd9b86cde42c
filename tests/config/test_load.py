"""Reading settings: defaults, the specification's example, precedence, round trip, unreadable files."""

import os
from datetime import date
from itertools import combinations
from pathlib import Path
from typing import get_args

import pytest
import yaml

from cnn_lstm_hyperopt.config import Choices, Fixed, FloatRange, IntRange, Settings, dump_settings, load_settings
from cnn_lstm_hyperopt.config.schema.data import SourceName
from cnn_lstm_hyperopt.errors import ConfigError

SEED_EXAMPLE = """\
# configs/hyperopt/cnn_lstm_hyperopt_config.yaml
study:
  name: "cnn_lstm_optimization_task_5_5"
  n_trials: 1000
  directions: ["maximize", "minimize", "minimize"]

pruner:
  type: "median"
  n_startup_trials: 20
  n_warmup_steps: 10

sampler:
  type: "tpe"
  n_startup_trials: 50
  multivariate: true

search_space:
  cnn:
    num_filters: [32, 64, 128, 256]
    filter_sizes: [[3,5,7], [3,5,7,11]]
  lstm:
    hidden_dim: [64, 128, 256, 512, 1024]
    num_layers: [1, 4]
  # ... more parameters
"""

ROUND_TRIP = """\
study: {name: "näme: with # signs", n_trials: 7, timeout: 12.5, seed: 4294967295, portfolio: false, enqueue: /a b/c.yaml}
data:
  source: files
  data_dir: /some/where with spaces
  symbols: ["NO", BRK.B]
  start: 2001-02-03
  end: 2004-05-06
  target: volatility
  lookback: 12
  horizon: 3
  split: [0.6, 0.25, 0.15]
  purge: 9
  max_gap_days: 4.5
  train_share: 0.125
training: {max_epochs: 3, min_patience: 2, patience_factor: 0, device: "cuda:1"}
pruner: {type: none, n_startup_trials: 0, n_warmup_steps: 0, interval_steps: 4, min_resource: 0.25, reduction_factor: 3}
sampler: {type: random, n_startup_trials: 3, multivariate: true, probes: false}
limits: {trial_seconds: null}
retrain: {enabled: true, top_k: 2, full_epochs: 9}
workers: 3
save_dir: here/and there
search_space:
  cnn: {attention: true, attention_heads: 1}
  training: {weight_decay: {low: 0, high: 0.1, log: false}}
  regularization: {l1: [0.0, 1.0e-3], dropout_schedule: linear}
  multi_task: {balancing: [fixed, uncertainty]}
  augmentation: {switch: [false, true], jitter: [0, 0.05], mixup: 0}
"""


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("study.name", "cnn_lstm_optimization"),
        ("study.n_trials", 1000),
        ("study.timeout", None),
        ("study.seed", 0),
        ("study.portfolio", True),
        ("study.enqueue", None),
        ("study.directions", ("maximize", "minimize", "minimize")),
        ("data.source", "synthetic"),
        ("data.synthetic_seed", 0),
        ("data.data_dir", None),
        ("data.symbols", ()),
        ("data.start", None),
        ("data.end", None),
        ("data.target", "direction"),
        ("data.lookback", 60),
        ("data.horizon", 1),
        ("data.split", (0.70, 0.15, 0.15)),
        ("data.purge", None),
        ("data.purge_bars", 1),
        ("data.max_gap_days", 10.0),
        ("data.train_share", "auto"),
        ("training.max_epochs", 20),
        ("training.device", "auto"),
        ("pruner.type", "auto"),
        ("pruner.n_startup_trials", 20),
        ("pruner.n_warmup_steps", 10),
        ("pruner.interval_steps", 1),
        ("pruner.min_resource", 1.0),
        ("pruner.reduction_factor", 4),
        ("pruner.min_early_stopping_rate", 0),
        ("sampler.type", "auto"),
        ("sampler.n_startup_trials", "auto"),
        ("sampler.multivariate", False),
        ("limits.trial_seconds", "auto"),
        ("retrain.enabled", False),
        ("retrain.top_k", 5),
        ("retrain.full_epochs", 200),
        ("workers", "auto"),
        ("save_dir", Path("hyperopt_results")),
    ],
)
def test_defaults_are_those_of_the_design(path, expected):
    value = load_settings()
    for part in path.split("."):
        value = getattr(value, part)
    assert value == expected
    assert type(value) is type(expected) or isinstance(expected, Path)


def test_every_setting_has_a_description():
    """The command line's help is made of them."""
    for name, section in Settings.model_fields.items():
        fields = getattr(section.annotation, "model_fields", {name: section})
        assert all(field.description for field in fields.values())


@pytest.mark.parametrize(
    ("setting", "device", "seconds"),
    [("auto", "cpu", 300.0), ("auto", "cuda", None), ("auto", "mps", None), (None, "cpu", None), (7, "cuda", 7.0)],
)
def test_limit_of_a_trial_on_a_device(setting, device, seconds):
    assert load_settings(None, {"limits": {"trial_seconds": setting}}).limits.seconds_on(device) == seconds


def test_purge_is_the_horizon_unless_given():
    assert load_settings(None, {"data": {"horizon": 5}}).data.purge_bars == 5
    assert load_settings(None, {"data": {"horizon": 5, "purge": 8}}).data.purge_bars == 8


def test_the_seed_documents_example_loads_as_it_stands(read_text):
    settings = read_text(SEED_EXAMPLE)
    assert settings.study.name == "cnn_lstm_optimization_task_5_5"
    assert settings.study.n_trials == 1000
    assert (settings.pruner.type, settings.pruner.n_startup_trials, settings.pruner.n_warmup_steps) == (
        "median",
        20,
        10,
    )
    assert (settings.sampler.type, settings.sampler.n_startup_trials, settings.sampler.multivariate) == (
        "tpe",
        50,
        True,
    )
    domains = settings.search_space.domains
    assert domains["cnn.num_filters"] == Choices((32, 64, 128, 256))
    assert domains["cnn.filter_sizes"] == Choices(("3-5-7", "3-5-7-11"))
    assert domains["lstm.hidden_dim"] == Choices((64, 128, 256, 512, 1024))
    assert domains["lstm.num_layers"] == IntRange(1, 4)
    assert settings.search_space == load_settings().search_space


def test_overrides_win_over_the_file_and_leave_the_rest(read_text):
    text = "study: {n_trials: 5, seed: 3}\nsearch_space: {cnn: {dropout: [0.2, 0.3], residual: true}}"
    settings = read_text(text, {"study": {"n_trials": 9}, "search_space": {"cnn": {"dropout": 0.25}}})
    assert (settings.study.n_trials, settings.study.seed) == (9, 3)
    assert settings.search_space.domains["cnn.dropout"] == Fixed(0.25)
    assert settings.search_space.domains["cnn.residual"] == Fixed(True)


def test_overrides_can_take_a_value_back_to_its_default(read_text):
    assert read_text("study: {timeout: 5}", {"study": {"timeout": None}}).study.timeout is None


def test_an_override_of_a_parameter_replaces_its_long_form(read_text):
    """Every config.yaml that a run wrote has long forms, so --batch-size with --config results/config.yaml fails."""
    text = "search_space: {training: {batch_size: {choices: [16, 32]}}}"
    settings = read_text(text, {"search_space": {"training": {"batch_size": {"fixed": 64}}}})
    assert settings.search_space.domains["training.batch_size"] == Fixed(64)


def test_neither_file_nor_overrides_are_changed(read_text):
    overrides = {"data": {"data_dir": "bars"}, "study": {"n_trials": 4}}
    assert read_text("data: {lookback: 9}", overrides).data.source == "files"
    assert overrides == {"data": {"data_dir": "bars"}, "study": {"n_trials": 4}}


@pytest.mark.parametrize("raw", [{"data_dir": "bars"}, {"data_dir": "bars", "source": None}])
def test_a_data_dir_alone_means_files(raw):
    data = load_settings(None, {"data": raw}).data
    assert (data.source, data.data_dir) == ("files", Path("bars").absolute())


def test_a_data_dir_is_the_same_wherever_the_run_goes_on(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert load_settings(None, {"data": {"data_dir": "~/bars"}}).data.data_dir == tmp_path / "home" / "bars"
    monkeypatch.chdir(tmp_path)
    assert load_settings(None, {"data": {"data_dir": "bars"}}).data.data_dir == tmp_path / "bars"


def test_what_is_enqueued_is_the_same_wherever_the_run_goes_on(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert load_settings(None, {"study": {"enqueue": "~/my.yaml"}}).study.enqueue == tmp_path / "home" / "my.yaml"
    monkeypatch.chdir(tmp_path)
    assert load_settings(None, {"study": {"enqueue": "my.yaml"}}).study.enqueue == tmp_path / "my.yaml"


@pytest.mark.parametrize("raw", ["auto", 0, 24])
def test_random_trials_first_are_a_number_or_auto(raw):
    found = load_settings(None, {"sampler": {"n_startup_trials": raw}}).sampler.n_startup_trials
    assert found == raw
    assert type(found) is type(raw)


@pytest.mark.parametrize("source", get_args(SourceName))
def test_every_source_can_be_named(source):
    raw = {"source": source} | ({"data_dir": "bars"} if source == "files" else {})
    assert load_settings(None, {"data": raw}).data.source == source


def test_no_data_dir_and_no_source_mean_the_synthetic_market():
    assert load_settings(None, {"data": {"data_dir": None, "lookback": 9}}).data.source == "synthetic"


@pytest.mark.parametrize(("raw", "workers"), [(3, 3), ("auto", "auto"), ("4", 4), (1024, 1024), (None, "auto")])
def test_workers_are_a_number_or_auto(raw, workers):
    found = load_settings(None, {"workers": raw}).workers
    assert found == workers
    assert type(found) is type(workers)


# ---------------------------------------------------------------------- the environment


def variables(**values):
    return {f"CNN_LSTM_HYPEROPT__{name}": text for name, text in values.items()}


LEVELS = [("the file", 11), ("the environment", 22), ("a flag", 33)]


@pytest.mark.parametrize("named_by", [subset for k in range(4) for subset in combinations(LEVELS, k)], ids=str)
def test_flags_win_over_the_environment_that_over_the_file_and_that_over_defaults(read_text, named_by):
    """Every combination of who names it; the last one of those wins."""
    value = dict(named_by)
    file = f"study: {{n_trials: {value['the file']}, seed: 5}}" if "the file" in value else "study: {seed: 5}"
    environment = variables(STUDY__N_TRIALS=str(value["the environment"])) if "the environment" in value else {}
    overrides = {"study": {"n_trials": value["a flag"]}} if "a flag" in value else {}
    settings = read_text(file, overrides, environment)
    assert settings.study.n_trials == (named_by[-1][1] if named_by else 1000)
    assert settings.study.seed == 5  # beside it nothing is lost


def test_each_level_keeps_what_the_others_do_not_name(read_text):
    settings = read_text(
        "study: {seed: 5}\npruner: {type: none}",
        {"study": {"name": "mine"}},
        variables(STUDY__N_TRIALS="40", STUDY__TIMEOUT="1.5"),
    )
    study = settings.study
    assert (study.seed, study.n_trials, study.timeout, study.name) == (5, 40, 1.5, "mine")
    assert settings.pruner.type == "none"


@pytest.mark.parametrize(
    ("name", "text", "path", "expected"),
    [
        ("STUDY__N_TRIALS", "40", "study.n_trials", 40),
        ("STUDY__TIMEOUT", "1.5", "study.timeout", 1.5),
        ("STUDY__TIMEOUT", "null", "study.timeout", None),
        ("STUDY__TIMEOUT", "", "study.timeout", None),
        ("STUDY__NAME", "my study", "study.name", "my study"),
        ("RETRAIN__ENABLED", "true", "retrain.enabled", True),
        ("DATA__SYMBOLS", "[AAPL, IBM]", "data.symbols", ("AAPL", "IBM")),
        ("DATA__SPLIT", "[0.5, 0.25, 0.25]", "data.split", (0.5, 0.25, 0.25)),
        ("DATA__START", "2001-02-03", "data.start", date(2001, 2, 3)),
        ("DATA__SOURCE", "embedded", "data.source", "embedded"),
        ("DATA__DATA_DIR", "bars", "data.source", "files"),
        ("WORKERS", "auto", "workers", "auto"),
        ("WORKERS", "2", "workers", 2),
        ("SAVE_DIR", "there", "save_dir", Path("there")),
        ("STUDY", "{n_trials: 3, seed: 4}", "study.seed", 4),
    ],
)
def test_variables_name_settings_and_their_values_are_yaml(name, text, path, expected):
    value = load_settings(None, None, variables(**{name: text}))
    for part in path.split("."):
        value = getattr(value, part)
    assert value == expected
    assert type(value) is type(expected) or isinstance(expected, Path)


@pytest.mark.parametrize("text", ["[8, 16]", "{choices: [8, 16]}"])
def test_variables_reach_into_the_search_space(read_text, text):
    settings = read_text(
        "search_space: {cnn: {num_filters: [32, 64], dropout: 0.2}}",
        None,
        variables(SEARCH_SPACE__CNN__NUM_FILTERS=text, SEARCH_SPACE__AUGMENTATION__SWITCH="true"),
    )
    domains = settings.search_space.domains
    assert domains["cnn.num_filters"] == Choices((8, 16))
    assert domains["cnn.dropout"] == Fixed(0.2)
    assert domains["augmentation.switch"] == Fixed(True)


def test_variables_of_others_are_not_read():
    others = {"CNN_LSTM_HYPEROPT_CACHE": "a__b", "STUDY__N_TRIALS": "2", "PATH": "["}
    assert load_settings(None, None, others) == load_settings(None, None, {})


def test_the_processs_own_variables_are_read_unless_others_are_given(monkeypatch):
    monkeypatch.setenv("CNN_LSTM_HYPEROPT__STUDY__N_TRIALS", "40")
    assert load_settings().study.n_trials == 40
    assert load_settings(None, None, {}).study.n_trials == 1000


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("STUDY__N_TRAILS", "4", "study.n_trails is not a setting; study has name, n_trials"),
        ("STUDDY__SEED", "4", "studdy is not a setting; the file has study, data"),
        ("STUDY__N_TRIALS", "many", "study.n_trials must be a valid integer, but got 'many'"),
        ("STUDY__N_TRIALS", "true", "study.n_trials must not be true"),
        ("STUDY__N_TRIALS__X", "3", "study.n_trials must be a valid integer, but got {'x': 3}"),
        ("STUDY", "5", r"study must hold settings \(name, n_trials, .*\), but got 5"),
        ("SEARCH_SPACE__CNN__DROPOUT", "2", "search_space.cnn.dropout must lie between 0 and 0.95, but got 2"),
        ("DATA__SYMBOLS", "AAPL", "data.symbols must be a list, but got 'AAPL'"),
    ],
)
def test_a_wrong_variable_is_named_as_its_setting(name, text, message):
    with pytest.raises(ConfigError, match=f"^the variable CNN_LSTM_HYPEROPT__{name}: {message}") as caught:
        load_settings(None, None, variables(**{name: text}))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["[1", "{a: b: c}", "@x", "!!python/object/apply:os.system [echo]"])
def test_a_variable_that_is_no_yaml_is_named_in_one_line(text):
    with pytest.raises(
        ConfigError, match=r"^the variable CNN_LSTM_HYPEROPT__STUDY__N_TRIALS is no valid YAML: "
    ) as caught:
        load_settings(None, None, variables(STUDY__N_TRIALS=text))
    assert "\n" not in str(caught.value)


def test_a_long_form_can_be_given_in_two_variables():
    settings = load_settings(
        None,
        None,
        variables(
            SEARCH_SPACE__TRAINING__LEARNING_RATE__LOW="1e-4", SEARCH_SPACE__TRAINING__LEARNING_RATE__HIGH="1e-3"
        ),
    )
    assert settings.search_space.domains["training.learning_rate"] == FloatRange(1e-4, 1e-3, log=True)


def test_a_wrong_variable_is_not_blamed_on_the_file(read_text):
    with pytest.raises(ConfigError) as caught:
        read_text("study: {seed: 1}", None, variables(STUDY__N_TRIALS="0"))
    assert "my.yaml" not in str(caught.value)


@pytest.mark.parametrize(
    ("file", "flags", "environment", "message"),
    [
        ("study: {n_trials: 5}", {"study": {"n_trials": -1}}, {}, "--n-trials: study.n_trials must be "),
        ("study: {n_trials: -1}", {"study": {"seed": 3}}, {}, r"\S+my\.yaml: study.n_trials must be "),
        ("study: {n_trials: -1}", {}, {"STUDY__SEED": "3"}, r"\S+my\.yaml: study.n_trials must be "),
        (
            "study: {n_trials: 5}",
            {},
            {"STUDY": "{n_trials: -1}"},
            "the variable CNN_LSTM_HYPEROPT__STUDY: study.n_trials must be ",
        ),
        (
            "data: {start: 2001-01-01, end: 2002-01-01}",
            {"data": {"start": "2003-01-01", "lookback": 9}},
            {},
            "--start: data: start must be before end",
        ),
        ("study: {name: x}", {"study": {"name": 5}}, {}, "study.name must be "),  # an argument has no name
        (
            "study: {null: 3}",
            {},
            {},
            r"\S+my\.yaml: study.null must be text, as the name of a setting is, but got nothing$",
        ),
        ("2001-01-01: 3", {}, {}, r"\S+my\.yaml: 2001-01-01 must be text, as the name of a setting is"),
        (
            "data: {split: [0.5, 0.5]}",
            {},
            {},
            r"\S+my\.yaml: data.split must be a list of 3 values, but got \[0.5, 0.5\]$",
        ),
        (
            "study: {seed: -1}",
            {"study": {"n_trials": 0}},
            {"RETRAIN__TOP_K": "0"},
            "3 settings are wrong:\n  --n-trials: study.n_trials .*\n  .*my.yaml: study.seed .*\n"
            "  the variable CNN_LSTM_HYPEROPT__RETRAIN__TOP_K: retrain.top_k ",
        ),
    ],
)
def test_what_is_wrong_is_told_with_who_says_it(tmp_path, file, flags, environment, message):
    path = tmp_path / "my.yaml"
    path.write_text(file, encoding="utf-8")
    names = {
        "study.n_trials": "--n-trials",
        "study.seed": "--seed",
        "data.start": "--start",
        "data.lookback": "--lookback",
    }
    with pytest.raises(ConfigError, match=f"^{message}"):
        load_settings(path, flags, variables(**environment), flags=names)


@pytest.mark.parametrize("text", ["", "null", "~"])
@pytest.mark.parametrize("name", ["STUDY", "SEARCH_SPACE", "SEARCH_SPACE__CNN"])
def test_an_empty_variable_takes_no_section_away(read_text, name, text):
    with pytest.raises(ConfigError) as caught:
        read_text("study: {seed: 7}\nsearch_space: {cnn: {dropout: 0.2}}", None, variables(**{name: text}))
    assert str(caught.value) == (
        f"the variable CNN_LSTM_HYPEROPT__{name} holds nothing, but {name.lower().replace('__', '.')} is a section; unset it,"
        " or name settings, such as {name: value}"
    )


def test_none_takes_no_section_away(read_text):
    assert read_text("study: {seed: 7}", {"study": None}).study.seed == 7


def test_a_variable_with_one_underscore_too_few_is_no_others():
    with pytest.raises(ConfigError) as caught:
        load_settings(None, None, {"CNN_LSTM_HYPEROPT_STUDY__SEED": "abc"})
    assert str(caught.value) == (
        "the variable CNN_LSTM_HYPEROPT_STUDY__SEED must have two underscores behind CNN_LSTM_HYPEROPT; did you mean"
        " CNN_LSTM_HYPEROPT__STUDY__SEED?"
    )


def test_one_setting_in_two_variables_is_an_error():
    with pytest.raises(ConfigError) as caught:
        load_settings(None, None, variables(study__seed="4", STUDY__SEED="5"))
    assert str(caught.value) == (
        "the variable CNN_LSTM_HYPEROPT__STUDY__SEED and the variable CNN_LSTM_HYPEROPT__study__seed name the same setting;"
        " unset one of them"
    )


@pytest.mark.parametrize("names", [("STUDY", "STUDY__SEED"), ("STUDY__SEED", "STUDY")])
def test_of_a_section_and_a_setting_in_it_the_setting_wins(names):
    texts = {"STUDY": "{seed: 4, n_trials: 9}", "STUDY__SEED": "5"}
    study = load_settings(None, None, variables(**{name: texts[name] for name in names})).study
    assert (study.seed, study.n_trials) == (5, 9)


@pytest.mark.parametrize("value", ["20010203", "2001-02-03", date(2001, 2, 3)])
def test_a_date_may_be_written_without_dashes(value):
    assert load_settings(None, {"data": {"start": value}}).data.start == date(2001, 2, 3)


@pytest.mark.parametrize("name", ["run:1", "study:1/r", "C:/results", "s3:b/x"])
def test_a_colon_in_a_path_makes_no_uri(name):
    assert load_settings(None, {"save_dir": name}).save_dir == Path(name)


def test_a_config_is_found_at_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "x.yaml").write_text("study: {seed: 7}")
    assert load_settings(Path("~/x.yaml")).study.seed == 7


def test_the_directory_that_a_path_begins_in_must_be_legible_too(tmp_path, monkeypatch):
    odd = os.fsencode(tmp_path) + b"/n\xff"
    os.mkdir(odd)
    monkeypatch.chdir(os.fsdecode(odd))
    with pytest.raises(
        ConfigError, match=r"^data.data_dir must be a path without control characters, but got '.*udcff/bars'$"
    ):
        load_settings(None, {"data": {"data_dir": "bars"}})


def test_a_path_from_a_directory_that_is_gone_is_told_in_one_line(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(ConfigError) as caught:
        load_settings(None, {"data": {"data_dir": "bars"}})
    assert str(caught.value) == (
        "data.data_dir must begin with / where the working directory is gone (No such file or directory), but got 'bars'"
    )


def test_dump_and_load_give_the_same_settings(read_text):
    settings = read_text(ROUND_TRIP)
    again = read_text(dump_settings(settings))
    assert again.model_dump(exclude={"search_space"}) == settings.model_dump(exclude={"search_space"})
    assert again.search_space == settings.search_space
    assert settings.data.symbols == ("NO", "BRK.B")
    assert settings.data.start == date(2001, 2, 3)
    assert settings.workers == 3
    assert settings.search_space.domains["regularization.l1"] == FloatRange(1e-7, 1e-3, log=True)
    assert settings.search_space.domains["augmentation.switch"] == Choices((False, True))


def test_dump_is_plain_yaml_with_every_setting_and_the_whole_space(read_text):
    tree = yaml.safe_load(dump_settings(load_settings()))
    assert set(tree) == set(Settings.model_fields)
    assert tree["data"]["split"] == [0.7, 0.15, 0.15]
    assert {f"{group}.{key}" for group, keys in tree["search_space"].items() for key in keys} == set(
        load_settings().search_space.domains
    )
    assert dump_settings(read_text(dump_settings(load_settings()))) == dump_settings(load_settings())


def test_settings_do_not_change_once_read():
    with pytest.raises(ValueError, match="frozen"):
        load_settings().study.seed = 4


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n", "search_space:\n"])
def test_an_empty_file_means_the_defaults(read_text, text):
    assert read_text(text).model_dump() == load_settings().model_dump()


def test_a_byte_order_mark_is_no_fault(read_text):
    assert read_text("\ufeffstudy: {n_trials: 3}").study.n_trials == 3


def test_a_file_may_be_json(tmp_path):
    path = tmp_path / "my.json"
    path.write_text('{"study": {"n_trials": 3},\t"training": {"patience_factor": 1e-1}}', encoding="utf-8")
    assert load_settings(path).study.n_trials == 3
    path.write_text("study: {n_trials: 3}", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"^--config .*my\.json is no valid JSON: Expecting value: line 1 column 1"):
        load_settings(path)


def test_a_missing_file_is_named(missing):
    with pytest.raises(ConfigError, match=r"--config .*nowhere.yaml can't be read: No such file"):
        load_settings(missing)


def test_a_directory_is_no_file(tmp_path):
    with pytest.raises(ConfigError, match=r"can't be read: Is a directory"):
        load_settings(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x80\x02}q\x00.", r"is no UTF-8 text \(line 1, byte 0\); save it as UTF-8"),
        ("study: {n_trials: 3}".encode("utf-16"), "is no UTF-8 text"),
        (b"study: {n_trials: \x00}", "is no valid YAML"),
        (b"study:\n\tn_trials: 3", "is no valid YAML: .*line 2"),
        (b"study: [1, 2", "is no valid YAML"),
        (
            b"!!python/object/apply:os.system [echo]",
            "is no valid YAML: line 1, column 1: the tag !!python/object/apply:os.system is not read",
        ),
        (b"- study\n- data\n", "must hold sections such as study: and data:, but holds list"),
        (
            b"study: {timeout: 2001-13-01}",
            r"is no valid YAML: line 1, column 18: 2001-13-01 is not valid \(month must be in 1..12\)",
        ),
        (b"[" * 10_000, "is no valid YAML: "),
        (b"just words", "but holds str"),
        (b"5", "but holds int"),
    ],
)
def test_files_that_hold_no_settings_say_so_in_one_line(tmp_path, content, message):
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as caught:
        load_settings(path)
    assert str(caught.value).startswith(f"--config {path} ")
    assert "\n" not in str(caught.value)
