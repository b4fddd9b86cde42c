"""Reading settings: defaults, the specification's example, precedence, round trip, unreadable files."""

import os
from collections.abc import Callable
from copy import deepcopy
from datetime import date
from itertools import combinations
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from cnn_lstm_hyperopt.config import Choices, Fixed, FloatRange, IntRange, Settings, dump_settings, load_settings
from cnn_lstm_hyperopt.config.schema.data import SourceName
from cnn_lstm_hyperopt.errors import ConfigError

Read = Callable[..., Settings]

SPECIFICATION = """\
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
study: {name: "näme: with # signs", timeout: 12.5, seed: 4294967295, portfolio: false, enqueue: /a b/c.yaml}
sampler: {probes: false}  # as earlier versions wrote it
data: {data_dir: /where with spaces, symbols: ["NO", BRK.B], start: 2001-02-03, split: [0.6, 0.25, 0.15], purge: 9}
search_space:
  training: {weight_decay: {low: 0, high: 0.1, log: false}}
  regularization: {l1: [0.0, 1.0e-3], dropout_schedule: linear}
  augmentation: {switch: [false, true], jitter: [0, 0.05], mixup: 0}
"""


def at(settings: Settings, path: str) -> Any:
    value: Any = settings
    for part in path.split("."):
        value = getattr(value, part)
    return value


def refused(*arguments: Any, **named: Any) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load_settings(*arguments, **named)
    return caught.value


def test_every_setting_has_a_description_and_is_immutable() -> None:
    for name, section in Settings.model_fields.items():
        fields = getattr(section.annotation, "model_fields", {name: section})
        assert all(field.description for field in fields.values())
    with pytest.raises(ValueError, match="frozen"):
        load_settings().study.seed = 4


@pytest.mark.parametrize(
    ("setting", "device", "seconds"),
    [("auto", "cpu", 300.0), ("auto", "cuda", None), ("auto", "mps", None), (None, "cpu", None), (7, "cuda", 7.0)],
)
def test_limit_of_a_trial_on_a_device(setting: Any, device: str, seconds: float | None) -> None:
    assert load_settings(None, {"limits": {"trial_seconds": setting}}).limits.seconds_on(device) == seconds


def test_the_example_of_the_specification_loads_unchanged(read_text: Read) -> None:
    settings = read_text(SPECIFICATION)
    for section in ("study", "pruner", "sampler"):
        for name, value in yaml.safe_load(SPECIFICATION)[section].items():
            assert at(settings, f"{section}.{name}") == (tuple(value) if isinstance(value, list) else value)
    domains = settings.search_space.domains
    assert domains["cnn.num_filters"] == Choices((32, 64, 128, 256))
    assert domains["cnn.filter_sizes"] == Choices(("3-5-7", "3-5-7-11"))
    assert domains["lstm.hidden_dim"] == Choices((64, 128, 256, 512, 1024))
    assert domains["lstm.num_layers"] == IntRange(1, 4)
    assert settings.search_space == load_settings().search_space


@pytest.mark.parametrize(
    ("raw", "path", "expected"),
    [
        ({"data": {"horizon": 5}}, "data.purge_bars", 5),
        ({"data": {"horizon": 5, "purge": 8}}, "data.purge_bars", 8),
        ({"data": {"data_dir": "bars"}}, "data.source", "files"),
        ({"data": {"data_dir": "bars", "source": None}}, "data.source", "files"),
        ({"data": {"data_dir": None, "lookback": 9}}, "data.source", "synthetic"),
        ({"data": {"start": "20010203"}}, "data.start", date(2001, 2, 3)),
        ({"data": {"start": date(2001, 2, 3)}}, "data.start", date(2001, 2, 3)),
        ({"workers": "4"}, "workers", 4),
        ({"workers": None}, "workers", "auto"),
        *(({"save_dir": name}, "save_dir", Path(name)) for name in ("run:1", "study:1/r", "C:/results", "s3:b/x")),
        *(
            ({"data": {"source": name} | ({"data_dir": "x"} if name == "files" else {})}, "data.source", name)
            for name in get_args(SourceName)
        ),
    ],
)
def test_forms_of_a_value(raw: dict[str, Any], path: str, expected: Any) -> None:
    found = at(load_settings(None, raw), path)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize("path", ["data.data_dir", "study.enqueue", "study.library"])
def test_paths_of_inputs_are_absolute(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    section, name = path.split(".")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    for given, expected in (("~/here", tmp_path / "home/here"), ("here", tmp_path / "here")):
        assert at(load_settings(None, {section: {name: given}}), path) == expected


def test_the_working_directory_of_a_path_must_be_printable_and_exist(tmp_path: Path, monkeypatch: Any) -> None:
    odd = os.fsencode(tmp_path) + b"/n\xff"
    os.mkdir(odd)
    monkeypatch.chdir(os.fsdecode(odd))
    assert refused(None, {"data": {"data_dir": "bars"}}).code == "path-not-printable"
    os.rmdir(odd)
    assert refused(None, {"data": {"data_dir": "bars"}}).code == "no-working-directory"


def test_overrides_win_over_the_file_and_leave_the_rest(read_text: Read) -> None:
    text = (
        "study: {n_trials: 5, seed: 3, timeout: 5}\n"
        "search_space: {cnn: {dropout: {choices: [0.2, 0.3]}, residual: true}}"
    )
    overrides = {"study": {"n_trials": 9, "timeout": None}, "search_space": {"cnn": {"dropout": {"fixed": 0.25}}}}
    before = deepcopy(overrides)
    settings = read_text(text, overrides)
    assert (settings.study.n_trials, settings.study.seed, settings.study.timeout) == (9, 3, None)
    assert settings.search_space.domains["cnn.dropout"] == Fixed(0.25)
    assert settings.search_space.domains["cnn.residual"] == Fixed(True)
    assert overrides == before
    assert read_text("study: {seed: 7}", {"study": None}).study.seed == 7


@pytest.mark.parametrize(
    ("arguments", "field", "code"),
    [
        ({"overrides": 5}, "overrides", "not-a-mapping"),
        ({"environment": ["a"]}, "environment", "not-a-mapping"),
        ({"base": 5}, "base", "not-settings"),
        ({"base": b"file.yaml"}, "base", "not-settings"),
        ({"base": ""}, "base", "empty-path"),
        ({"base": "."}, "--config", "unreadable"),
        ({"base": {1: 2}}, "1", "invalid-key"),
        ({"base": {"study": 5}, "overrides": {"study": {"n_trials": 3}}}, "study", "model-type"),
    ],
    ids=str,
)
def test_wrong_arguments(arguments: dict[str, Any], field: str, code: str) -> None:
    error = refused(**arguments)
    assert (error.field, error.code) == (field, code)


def variables(**values: str) -> dict[str, str]:
    return {f"CNN_LSTM_HYPEROPT__{name}": text for name, text in values.items()}


LEVELS = [("the file", 11), ("the environment", 22), ("a flag", 33)]


@pytest.mark.parametrize("named_by", [subset for k in range(4) for subset in combinations(LEVELS, k)], ids=str)
def test_flags_win_over_the_environment_that_over_the_file_and_that_over_defaults(
    read_text: Read, named_by: Any
) -> None:
    value = dict(named_by)
    file = f"study: {{n_trials: {value['the file']}, seed: 5}}" if "the file" in value else "study: {seed: 5}"
    environment = variables(STUDY__N_TRIALS=str(value["the environment"])) if "the environment" in value else {}
    overrides = {"study": {"n_trials": value["a flag"]}} if "a flag" in value else {}
    settings = read_text(file, overrides, environment)
    assert settings.study.n_trials == (named_by[-1][1] if named_by else 1000)
    assert settings.study.seed == 5


@pytest.mark.parametrize(
    ("name", "text", "path", "expected"),
    [
        ("STUDY__N_TRIALS", "40", "study.n_trials", 40),
        ("STUDY__TIMEOUT", "", "study.timeout", None),
        ("STUDY__NAME", "my study", "study.name", "my study"),
        ("RETRAIN__ENABLED", "true", "retrain.enabled", True),
        ("DATA__SYMBOLS", "[AAPL, IBM]", "data.symbols", ("AAPL", "IBM")),
        ("DATA__START", "2001-02-03", "data.start", date(2001, 2, 3)),
        ("DATA__DATA_DIR", "bars", "data.source", "files"),
        ("SAVE_DIR", "there", "save_dir", Path("there")),
        ("STUDY", "{n_trials: 3, seed: 4}", "study.seed", 4),
    ],
)
def test_variables_name_settings_and_their_values_are_yaml(name: str, text: str, path: str, expected: Any) -> None:
    value = at(load_settings(None, None, variables(**{name: text})), path)
    assert value == expected
    assert type(value) is type(expected) or isinstance(expected, Path)


@pytest.mark.parametrize("text", ["[8, 16]", "{choices: [8, 16]}"])
def test_variables_reach_into_the_search_space(read_text: Read, text: str) -> None:
    environment = variables(
        SEARCH_SPACE__CNN__NUM_FILTERS=text,
        SEARCH_SPACE__TRAINING__LEARNING_RATE__LOW="1e-4",
        SEARCH_SPACE__TRAINING__LEARNING_RATE__HIGH="1e-3",
    )
    domains = read_text(
        "search_space: {cnn: {num_filters: [32, 64], dropout: 0.2}}", None, environment
    ).search_space.domains
    assert domains["cnn.num_filters"] == Choices((8, 16))
    assert domains["cnn.dropout"] == Fixed(0.2)
    assert domains["training.learning_rate"] == FloatRange(1e-4, 1e-3, log=True)


def test_only_variables_of_ours_are_read_from_the_process_unless_others_are_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    others = {"CNN_LSTM_HYPEROPT_CACHE": "a__b", "STUDY__N_TRIALS": "2", "PATH": "["}
    assert load_settings(None, None, others) == load_settings(None, None, {})
    monkeypatch.setenv("CNN_LSTM_HYPEROPT__STUDY__N_TRIALS", "40")
    assert load_settings().study.n_trials == 40
    assert load_settings(None, None, {}).study.n_trials == 1000


@pytest.mark.parametrize("order", [1, -1])
def test_a_variable_of_a_setting_wins_over_one_of_its_section(order: int) -> None:
    texts = [("STUDY", "{seed: 4, n_trials: 9}"), ("STUDY__SEED", "5")]
    study = load_settings(None, None, variables(**dict(texts[::order]))).study
    assert (study.seed, study.n_trials) == (5, 9)


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"CNN_LSTM_HYPEROPT_STUDY__SEED": "4"}, "one-underscore"),
        *(({"STUDY__N_TRIALS": text}, "not-yaml") for text in ("[1", "{a: b: c}", "@x", "!!python/object:x [echo]")),
        ({"STUDY__SEED": "4", "study__seed": "5"}, "duplicate-variable"),
        ({"STUDY": "5", "STUDY__SEED": "5"}, "variables-contradict"),
        ({"STUDY____SEED": "5"}, "no-setting"),
        *(
            ({name: text}, "empty-section")
            for name in ("STUDY", "SEARCH_SPACE", "SEARCH_SPACE__CNN")
            for text in ("", "null")
        ),
    ],
)
def test_a_variable_that_can_not_be_read(read_text: Read, values: dict[str, str], code: str) -> None:
    named = values if code == "one-underscore" else variables(**values)
    with pytest.raises(ConfigError) as caught:
        read_text("study: {seed: 7}\nsearch_space: {cnn: {dropout: 0.2}}", None, named)
    assert (caught.value.field, caught.value.code) == (list(named)[-1], code)
    assert "\n" not in str(caught.value)


FLAGS = {f"{section}.{name}": f"--{name}" for section, name in (("study", "seed"), ("data", "start"), ("data", "end"))}


@pytest.mark.parametrize(
    ("file", "flags", "variable", "origins"),
    [
        ("study: {seed: 5}", {"study": {"seed": -1}}, {}, ["--seed: study.seed"]),
        ("study: {n_trials: -1}", {"study": {"seed": 3}}, {}, ["/my.yaml: study.n_trials"]),
        ("study: {seed: 5}", {}, {"STUDY": "{seed: -1}"}, ["__STUDY: study.seed"]),
        ("study: {seed: 1}", {}, {"STUDDY__SEED": "4"}, ["__STUDDY__SEED: studdy"]),
        ("study: {seed: 5}", {}, {"STUDY__SEED__X": "3"}, ["__STUDY__SEED__X: study.seed"]),
        ("data: {end: 2002-01-01}", {"data": {"start": "2003-01-01"}}, {}, ["--start: data"]),
        ("study: {null: 3}", {}, {}, ["/my.yaml: study.null"]),
        (
            "study: {n_trials: -1}",
            {"study": {"seed": -1}},
            {"RETRAIN__TOP_K": "0"},
            ["/my.yaml: study.n_trials", "--seed: study.seed", "__RETRAIN__TOP_K: retrain.top_k"],
        ),
    ],
)
def test_an_error_names_its_flag_variable_or_file(
    tmp_path: Path, file: str, flags: dict[str, Any], variable: dict[str, str], origins: list[str]
) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(file, encoding="utf-8")
    error = refused(path, flags, variables(**variable), flags=FLAGS)
    assert len(error.violations) == len(origins)
    for line, origin in zip(str(error).split("\n")[-len(origins) :], origins, strict=True):
        assert origin in line


def test_dump_is_plain_yaml_with_every_setting_and_reads_back_unchanged(read_text: Read) -> None:
    settings = read_text(ROUND_TRIP)
    again = read_text(dump_settings(settings))
    assert again.model_dump(exclude={"search_space"}) == settings.model_dump(exclude={"search_space"})
    assert again.search_space == settings.search_space
    assert settings.data.symbols == ("NO", "BRK.B")
    assert settings.search_space.domains["regularization.l1"] == FloatRange(1e-7, 1e-3, log=True)
    tree = yaml.safe_load(dump_settings(settings))
    assert tree["search_space"].pop("architecture") == "classic"
    names = {f"{group}.{key}" for group, keys in tree["search_space"].items() for key in keys}
    assert (set(tree), names) == (set(Settings.model_fields), set(settings.search_space.domains))
    assert tree["data"]["split"] == [0.6, 0.25, 0.15]


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n", "search_space:\n", "\ufeffstudy: {}"])
def test_an_empty_file_means_the_defaults(read_text: Read, text: str) -> None:
    assert read_text(text).model_dump() == load_settings().model_dump()


def test_a_file_may_be_json_and_be_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / "my.json"
    path.write_text('{"study": {"n_trials": 3},\t"training": {"patience_factor": 1e-1}}', encoding="utf-8")
    assert load_settings("~/my.json").study.n_trials == 3
    path.write_text("study: {n_trials: 3}", encoding="utf-8")
    assert refused(path).code == "not-json"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"\x80\x02}q\x00.", "unreadable"),
        (b"a: 1\nb: \xff", "unreadable"),
        ("study: {n_trials: 3}".encode("utf-16"), "unreadable"),
        (b"# " + b"x" * 1_000_000, "unreadable"),
        (None, "unreadable"),
        (b"study:\n\tn_trials: 3", "not-yaml"),
        (b"!!python/object/apply:os.system [echo]", "not-yaml"),
        (b"study: {seed: !!int ''}", "not-yaml"),
        (b"study: {seed: 1}\n---\nstudy: {seed: 2}", "not-yaml"),
        (b"study: {timeout: 2001-13-01}", "not-yaml"),
        (b"study: {seed: 010}", "not-yaml"),
        (b"study: {seed: " + b"9" * 500 + b"}", "not-yaml"),
        (b"- study\n- data\n", "not-a-mapping"),
        (b"just words", "not-a-mapping"),
        (b'{"study": {"seed": 1, "seed": 2}}', "not-json"),
        (b'{"study": {"timeout": NaN}}', "not-json"),
        (b'{"study": {"seed": ' + b"9" * 500 + b"}}", "not-json"),
        (b"[" * 100_000, "not-json"),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_a_file_without_settings(tmp_path: Path, content: bytes | None, code: str) -> None:
    path = tmp_path / ("bad.json" if code == "not-json" else "bad.yaml")
    if content is not None:
        path.write_bytes(content)
    error = refused(path)
    assert (error.field, error.code) == ("--config", code)
    assert str(error).startswith(f"--config {path} ")
    assert str(error).isprintable()
    assert len(str(error)) < 500


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_pipe_is_not_waited_for_and_a_home_must_exist(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    assert refused(tmp_path / "pipe.yaml").code == "unreadable"
    assert refused("~no-such-user/x.yaml").code == "no-such-user"
