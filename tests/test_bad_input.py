"""Hostile and mistaken config files, flags and arguments: refused with a field and a code; nothing in them runs."""

import csv
import io
import os
from pathlib import Path
from typing import Any

import pytest

from builders.records import make_record
from cnn_lstm_hyperopt import CNNLSTMHyperparameterOptimizer, cli, load_settings
from cnn_lstm_hyperopt.config import Settings, parse_space, yaml_reader
from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.pipeline.results.trials_csv import trials_csv
from cnn_lstm_hyperopt.search import SkillThreshold, random_configuration


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


# ---------------------------------------------------------------------- the words that users meet most

SECTIONS = ", ".join(Settings.model_fields)
STUDY = ", ".join(Settings.model_fields["study"].annotation.model_fields)
MESSAGES = [
    (
        "study: {n_trials: 5, n_trials: 6}",
        "--config my.yaml is not valid YAML: line 1, column 22: while constructing a mapping, found duplicate key"
        ' "n_trials"',
    ),
    (
        "study: {seed: 010}",
        "--config my.yaml is not valid YAML: line 1, column 15: 010 may be an octal number; remove the leading zero",
    ),
    ("- study", "--config my.yaml must contain sections such as study: and data:, but contains list"),
    ("study: {n_trials: 0}", "my.yaml: study.n_trials must be greater than or equal to 1, but got 0"),
    ("study: {sead: 3}", f"my.yaml: study.sead is not a setting; study has {STUDY}; did you mean seed?"),
    ("seed: 3", f"my.yaml: seed is not a setting; the file has {SECTIONS}; did you mean study.seed?"),
    (
        "study: {\u0455eed: 3}",
        f"my.yaml: study.\u0455eed (\\u0455eed) is not a setting; study has {STUDY}; did you mean seed?",
    ),
    ("study: {name: 2001-01-01}", "my.yaml: study.name must be text, but got 2001-01-01; put it in quotes"),
    ("study: [1, 2]", f"my.yaml: study must hold settings ({STUDY}), but got [1, 2]"),
    (
        "sampler: {type: tpee}",
        "my.yaml: sampler.type must be 'auto', 'tpe', 'cmaes', 'random', 'nsga2' or 'gp', but got 'tpee'; did you"
        " mean tpe?",
    ),
    ("save_dir: s3://b/x", "my.yaml: save_dir must be a local directory, but got 's3://b/x'"),
    ("data: {start: 20010203}", "my.yaml: data.start must be a date such as 2001-02-03, but got 20010203"),
    ("data: {split: [0.5, 0.5]}", "my.yaml: data.split must be a list of 3 values, but got [0.5, 0.5]"),
    (
        "data: {horizon: 5, purge: 1}",
        "my.yaml: data: purge must be at least the horizon, or training labels reach into validation and test;"
        " got purge=1, horizon=5",
    ),
    (
        "search_space: {cnn: {hidden_dim: 64}}",
        "my.yaml: search_space.cnn.hidden_dim is not a parameter; cnn has num_filters, filter_sizes, dropout,"
        " activation, residual, attention, attention_heads; did you mean lstm.hidden_dim?",
    ),
    (
        "search_space: {cnn: {activation: rleu}}",
        "my.yaml: search_space.cnn.activation must be one of relu, gelu, swish, but got 'rleu'; did you mean relu?",
    ),
]
COMMANDS = [
    (
        "run",
        "run needs data: --data-dir DIR (your SYMBOL.csv or SYMBOL.parquet files), --use-real-data (daily bars in"
        " the package), or --demo (a few minutes on these bars)",
    ),
    (
        "run --config smal",
        "--config smal is neither a file nor a profile (cnn_lstm_hyperopt_config, demo, gpu, laptop, small); did"
        " you mean small?",
    ),
    ("run --config my.yml", "--config my.yml can't be read: No such file or directory"),
    ("run --n-trails 5", "Unknown option: --n-trails. Did you mean --n-trials? (see --help)"),
    ("run --n-trials 1e3", "Invalid value for --n-trials: must be a whole number, but got '1e3' (see --help)"),
    ("run --n-trials -1", "--n-trials: study.n_trials must be greater than or equal to 1, but got -1"),
    (
        "run --sampler bayes",
        'Invalid value "bayes" for --sampler. Choose from: "auto", "tpe", "cmaes", "random", "nsga2", "gp". Did'
        ' you mean "cmaes"? (see --help)',
    ),
    (
        "run --symbols AAPL",
        "--symbols needs a source of real bars: --use-real-data (daily bars in the package), --source yahoo, or"
        " --data-dir DIR (your SYMBOL.csv or SYMBOL.parquet files)",
    ),
    (
        "runn",
        'Unknown command "runn". Did you mean "run"? Commands: run, data, resume, status, report, predict,'
        " export, narrow, track (see --help)",
    ),
    ("resume --save-dir none", "--save-dir none has no config.yaml, so there is nothing to resume; start with: run"),
]


@pytest.mark.wording
@pytest.mark.parametrize(("text", "message"), MESSAGES)
def test_messages_about_a_config_file(text: str, message: str) -> None:
    Path("my.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_settings(Path("my.yaml"), environment={})
    assert str(caught.value) == message


@pytest.mark.wording
@pytest.mark.parametrize(("command", "message"), COMMANDS)
def test_messages_of_the_command_line(command: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(command.split()) == 2
    assert capsys.readouterr().err == f"Error: {message}\n"


# ---------------------------------------------------------------------- config files

ALIASES = "".join(f"\n  {b}: &{b} [{', '.join([f'*{a}'] * 10)}]" for a, b in ("ab", "bc", "cd", "de"))
FILES = [
    ("study: !!python/object/apply:os.system [echo]", "--config", "not-yaml"),
    ("study: {seed: !!int ''}", "--config", "not-yaml"),
    ("study: {seed: 1}\n---\nstudy: {seed: 2}", "--config", "not-yaml"),
    ("study: &a {name: *a}", "--config", "not-yaml"),
    ("study: *none", "--config", "not-yaml"),
    (f"study:\n  a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]{ALIASES}", "--config", "not-yaml"),
    ("study: " + "[" * 60, "--config", "not-yaml"),
    ("study: {seed: " + "9" * 500 + "}", "--config", "not-yaml"),
    ("study: {seed: 1:30}", "study.seed", "int-parsing"),
    ("study: {timeout: 1e400}", "study.timeout", "finite-number"),
    ('study: {name: "a\\nb\\e[31m"}', "study.name", "name-not-printable"),
    ('study: {name: "abc\\u202Etxt"}', "study.name", "name-not-printable"),
    ('study: {name: "a\\u200Bb"}', "study.name", "name-not-printable"),
    ('study: {name: "\\U000E0041"}', "study.name", "name-not-printable"),
    ("study: {name: ../../etc/passwd}", "study.name", "name-is-path"),
    ("study: {name: '..'}", "study.name", "name-is-path"),
    ("data: {start: '978307200'}", "data.start", "not-a-date"),
    ("data: {start: 0001-01-01}", "data.start", "year-out-of-range"),
    ("search_space: {cnn: {num_filters: ['\uff11\uff16']}}", "search_space.cnn.num_filters", "not-a-number"),
    ("training: {device: 'cuda:\u0663'}", "training.device", "not-a-device"),
    (f"search_space: {{cnn: {{filter_sizes: [{[3] * 17}]}}}}", "search_space.cnn.filter_sizes", "too-many-sizes"),
    (f"search_space: {{cnn: {{num_filters: {[*range(1, 101)]}}}}}", "search_space.cnn.num_filters", "too-many-choices"),
    (b"a: 1\nb: \xff", "--config", "unreadable"),
    (b"# " + b"x" * 1_000_000, "--config", "unreadable"),
    ('{"study": {"seed": 1, "seed": 2}}', "--config", "not-json"),
    ('{"study": {"timeout": NaN}}', "--config", "not-json"),
    ('{"study": {"seed": ' + "9" * 500 + "}}", "--config", "not-json"),
    ("[" * 100_000, "--config", "not-json"),
]


@pytest.mark.parametrize(("content", "field", "code"), FILES, ids=lambda value: ascii(value)[:40])
def test_a_hostile_config_file(content: str | bytes, field: str, code: str) -> None:
    path = Path("my.json" if code == "not-json" else "my.yaml")
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError) as caught:
        load_settings(path, environment={})
    assert (caught.value.field, caught.value.code) == (field, code)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_pipe_is_not_waited_for() -> None:
    os.mkfifo("pipe.yaml")
    with pytest.raises(ConfigError) as caught:
        load_settings("pipe.yaml")
    assert caught.value.code == "unreadable"


def test_values_are_counted_before_they_are_constructed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_reader, "MAX_VALUES", 50)
    Path("my.yaml").write_text("data:\n  symbols:\n" + "  - x\n" * 60, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_settings(Path("my.yaml"), environment={})
    assert "line 48, column 5" in str(caught.value)


def test_of_thousands_of_errors_the_first_are_shown() -> None:
    keys = ", ".join(f"k{number}: 1" for number in range(3_000))
    Path("my.yaml").write_text(f"study: {{{keys}}}", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_settings(Path("my.yaml"), environment={})
    assert len(caught.value.violations) == 3_000
    assert len(str(caught.value)) < 4_000


@pytest.mark.parametrize(
    ("arguments", "field", "code"),
    [
        ({"config": 5}, "config", "not-settings"),
        ({"config": ""}, "config", "empty-path"),
        ({"config": "nowhere.yaml"}, "--config", "unreadable"),
        ({"config": {1: 2}}, "1", "invalid-key"),
        ({"config": {"studdy": None}}, "studdy", "unknown-setting"),
        ({"save_dir": ""}, "save_dir", "empty-path"),
        ({"save_dir": 5}, "save_dir", "path-type"),
        ({"save_dir": "http://x/y"}, "save_dir", "not-local"),
        ({"study_name": "a\x00b"}, "study.name", "name-not-printable"),
        ({"study_name": 5}, "study.name", "string-type"),
        ({"study_name": b"x"}, "study.name", "string-type"),
        ({"resume": "no"}, "resume", "not-boolean"),
        ({"quiet": 1}, "quiet", "not-boolean"),
        ({"input_dim": 3}, "input_dim", "needs-loaders"),
        ({"groups": [1]}, "groups", "needs-loaders"),
    ],
    ids=str,
)
def test_wrong_arguments_in_python(arguments: dict[str, Any], field: str, code: str) -> None:
    with pytest.raises(ConfigError) as caught:
        CNNLSTMHyperparameterOptimizer(**{"quiet": True, **arguments})
    assert (caught.value.field, caught.value.code) == (field, code)


# ---------------------------------------------------------------------- what is written


def test_a_cell_that_a_spreadsheet_would_run_is_text_and_numbers_stay_numbers() -> None:
    space = parse_space(None)[0]
    reasons = ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "plain"]
    records = [
        make_record(number, params=random_configuration(space, 0, number), values=(-0.5, 1.0, 1.0), reason=reason)
        for number, reason in enumerate(reasons)
    ]
    rows = list(csv.DictReader(io.StringIO(trials_csv(records, space, SkillThreshold(0.5, 100), train_share=1.0))))
    assert [row["reason"] for row in rows] == ["'=1+1", "+1", "-1", "'@SUM(A1)", "'\tx", "plain"]
    assert {row["accuracy"] for row in rows} == {"-0.5"}
