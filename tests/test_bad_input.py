"""Bad input and its exact message, through the doors that users have; what is read is never run" " and never swallows memory."""

import csv
import io
import os
from pathlib import Path
from typing import Any

import pytest

from cnn_lstm_hyperopt import CNNLSTMHyperparameterOptimizer, cli
from cnn_lstm_hyperopt.config import Settings, load_settings, parse_space, yaml_reader
from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.pipeline.results.trials_csv import trials_csv
from cnn_lstm_hyperopt.search import SkillThreshold, State, StudyStorage, TrialRecord, Values, random_configuration

# ---------------------------------------------------------------------- config files

FILES = [
    (
        "study: {n_trials: 5, n_trials: 6}",
        '--config my.yaml is no valid YAML: line 1, column 22: while constructing a mapping, found duplicate key "n_trials"',
    ),
    (
        "study: {seed: 1}\ndata: {lookback: 9}\nstudy: {n_trials: 5}\ndata: {}",
        "--config my.yaml is no valid YAML: line 3, column 1: while constructing a mapping, found duplicate key"
        ' "study"',
    ),
    (
        "study:\n\tseed: 3",
        "--config my.yaml is no valid YAML: line 2, column 1: while scanning for the next token, found"
        " character '\\t' that cannot start any token",
    ),
    (
        "study: {seed: 3",
        "--config my.yaml is no valid YAML: line 1, column 16: while parsing a flow mapping, expected"
        " ',' or"
        " '}', but got '<stream end>'",
    ),
    (
        "study: !!python/object/apply:os.system [echo]",
        "--config my.yaml is no valid YAML: line 1, column 8: the tag !!python/object/apply:os.system"
        " is not read; remove it",
    ),
    (
        "study: {name: !!binary aGVsbG8=}",
        "--config my.yaml is no valid YAML: line 1, column 15: the tag !!binary is not read; remove it",
    ),
    (
        "study: {seed: !!int ''}",
        "--config my.yaml is no valid YAML: line 1, column 15: the tag !!int is not read; remove it",
    ),
    (
        "study: {seed: 1}\n---\nstudy: {seed: 2}",
        "--config my.yaml is no valid YAML: line 2, column 1: expected a single document in the stream, but"
        " found another document",
    ),
    (
        "study: &a {name: *a}",
        "--config my.yaml is no valid YAML: line 1, column 18: an alias (*) stands in what it repeats",
    ),
    (
        "study:\n  a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n  b: &b ["
        + ", ".join(["*a"] * 10)
        + "]\n  c: &c ["
        + ", ".join(["*b"] * 10)
        + "]\n  d: &d ["
        + ", ".join(["*c"] * 10)
        + "]\n  e: ["
        + ", ".join(["*d"] * 10)
        + "]",
        "--config my.yaml is no valid YAML: line 6, column 19: aliases (*) repeat more than 50,000 values",
    ),
    ("study: *nobody", "--config my.yaml is no valid YAML: line 1, column 8: found undefined alias 'nobody'"),
    ("study: " + "[" * 60, "--config my.yaml is no valid YAML: line 1, column 47: nested deeper than 40 levels"),
    (
        "study: {seed: 010}",
        "--config my.yaml is no valid YAML: line 1, column 15: 010 may be an octal number; remove the leading zero",
    ),
    (
        "study: {seed: 1:30}",
        "my.yaml: study.seed must be a valid integer, but got '1:30'",
    ),
    (
        "study: {seed: " + "9" * 500 + "}",
        "--config my.yaml is no valid YAML: line 1, column 15:"
        " 99999999999999999999…99999999999999999999 has"
        " more than 400 digits",
    ),
    (
        "study: {timeout: 2001-13-01}",
        "--config my.yaml is no valid YAML: line 1, column 18: 2001-13-01 is not valid (month must be in 1..12)",
    ),
    ("study: {timeout: .inf}", "my.yaml: study.timeout must be a finite number, but got inf"),
    ("study: {timeout: 1e400}", "my.yaml: study.timeout must be a finite number, but got inf"),
    (
        "study: {n_trials: 1000000000000}",
        "my.yaml: study.n_trials must be less than or equal to 10000000, but got 1000000000000",
    ),
    ("study: {name: 2001-01-01}", "my.yaml: study.name must be text, but got 2001-01-01; put it in quotes"),
    (
        'study: {name: "a\\nb\\e[31m"}',
        "my.yaml: study.name must be text without control characters, but got 'a\\nb\\x1b[31m'",
    ),
    (
        'study: {name: "abc\\u202Etxt"}',
        "my.yaml: study.name must be text without control characters, but got 'abc\\u202etxt'",
    ),
    (
        "study: {name: ../../etc/passwd}",
        "my.yaml: study.name must be a name and no path (no / and no \\), but got '../../etc/passwd'",
    ),
    ('study: {name: "a\\u200Bb"}', "my.yaml: study.name must be text without control characters, but got 'a\\u200bb'"),
    ('study: {name: "\\uFEFF"}', "my.yaml: study.name must be text without control characters, but got '\\ufeff'"),
    ('study: {name: "a\\xADb"}', "my.yaml: study.name must be text without control characters, but got 'a\\xadb'"),
    (
        'study: {name: "\\U000E0041"}',
        "my.yaml: study.name must be text without control characters, but got '\\U000e0041'",
    ),
    ("study: {name: '..'}", "my.yaml: study.name must be a name and no path (no / and no \\), but got '..'"),
    ("study: {name: .}", "my.yaml: study.name must be a name and no path (no / and no \\), but got '.'"),
    ("study: {name: ' x'}", "my.yaml: study.name must not begin or end with a space, but got ' x'"),
    (
        "study: {sead: 3}",
        "my.yaml: study.sead is not a setting; study has name, n_trials, timeout, seed, metric,"
        " time_objective, portfolio, enqueue, directions; did you mean seed?",
    ),
    (
        "seed: 3",
        "my.yaml: seed is not a setting; the file has study, data, training, pruner, sampler, limits,"
        " retrain, evaluation, mlflow, workers, save_dir, report, search_space; did you mean study.seed?",
    ),
    (
        "training: {learning_rate: 0.1}",
        "my.yaml: training.learning_rate is not a setting; training has max_epochs, min_patience,"
        " patience_factor, long_epoch_seconds, precision, device; did you mean"
        " search_space.training.learning_rate?",
    ),
    (
        "study: {\u0455eed: 3}",
        "my.yaml: study.\u0455eed (\\u0455eed) is not a setting; study has name, n_trials, timeout, seed, metric,"
        " time_objective, portfolio, enqueue, directions; did you mean seed?",
    ),
    (
        "studdy:",
        f"my.yaml: studdy is not a setting; the file has {', '.join(Settings.model_fields)}; did you mean study?",
    ),
    ("foo: null", f"my.yaml: foo is not a setting; the file has {', '.join(Settings.model_fields)}"),
    ("study: {1: 2}", "my.yaml: study.1 must be text, as the name of a setting is, but got 1"),
    (
        "study: [1, 2]",
        "my.yaml: study must hold settings (name, n_trials, timeout, seed, metric, time_objective,"
        " portfolio, enqueue, directions), but got [1, 2]",
    ),
    (
        "sampler: {type: TPEE}",
        "my.yaml: sampler.type must be 'auto', 'tpe', 'cmaes', 'random', 'nsga2' or 'gp', but got 'TPEE'; did you mean tpe?",
    ),
    ("save_dir: http://x/y", "my.yaml: save_dir must be a local directory, but got 'http://x/y'"),
    ("save_dir: gs:/b/x", "my.yaml: save_dir must be a local directory, but got 'gs:/b/x'"),
    ("save_dir: ''", "my.yaml: save_dir must name a file or a directory, but got ''"),
    ('save_dir: "a\\0b"', "my.yaml: save_dir must be a path without control characters, but got 'a\\x00b'"),
    (
        "save_dir: $HOME/results",
        "my.yaml: save_dir must be written out, for variables are not replaced here (~ is), but got '$HOME/results'",
    ),
    (
        "save_dir: ~nobody-of-this-name/results",
        "my.yaml: save_dir must begin with the directory of a user whom there is, but got"
        " '~nobody-of-this-name/results'",
    ),
    (
        "save_dir: " + "x" * 300,
        "my.yaml: save_dir must be a path of at most 4000 characters and 255 between two slashes, but"
        " got"
        " 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'",
    ),
    ("data: {symbols: [../AAPL]}", "my.yaml: data.symbols must be names such as AAPL and no paths, but got '../AAPL'"),
    ("data: {symbols: [true]}", "my.yaml: data.symbols.0 must be text, but got True; put it in quotes"),
    ("data: {start: 20010203}", "my.yaml: data.start must be a date such as 2001-02-03, but got 20010203"),
    ("data: {start: '978307200'}", "my.yaml: data.start must be a date such as 2001-02-03, but got '978307200'"),
    ("data: {start: '1.0e+9'}", "my.yaml: data.start must be a date such as 2001-02-03, but got '1.0e+9'"),
    ("data: {start: 0001-01-01}", "my.yaml: data.start must lie between the years 1700 and 2200, but got 0001-01-01"),
    (
        "data: {max_gap_days: 1.0e+300}",
        "my.yaml: data.max_gap_days must be less than or equal to 36500, but got 1e+300",
    ),
    (
        "search_space: {cnn: {droput: 0.1}}",
        "my.yaml: search_space.cnn.droput is not a parameter; cnn has num_filters, filter_sizes,"
        " dropout,"
        " activation, residual, attention, attention_heads; did you mean dropout?",
    ),
    (
        "search_space: {cnn: {hidden_dim: 64}}",
        "my.yaml: search_space.cnn.hidden_dim is not a parameter; cnn has num_filters, filter_sizes,"
        " dropout, activation, residual, attention, attention_heads; did you mean lstm.hidden_dim?",
    ),
    (
        "search_space: {trainin: {batch_size: 16}}",
        "my.yaml: search_space.trainin is not a group; choose from augmentation, cnn, fusion, lstm,"
        " multi_task, regularization, training; did you mean training?",
    ),
    (
        "search_space: {cnn: {activation: rleu}}",
        "my.yaml: search_space.cnn.activation must be one of relu, gelu, swish, but got 'rleu'; did you mean relu?",
    ),
    (
        "search_space: {cnn: {num_filters: ['\uff11\uff16']}}",
        "my.yaml: search_space.cnn.num_filters must be a number, but got '\uff11\uff16'",
    ),
    (
        "search_space: {cnn: {activation: RELU}}",
        "my.yaml: search_space.cnn.activation must be one of relu, gelu, swish, but got 'RELU'; did you mean relu?",
    ),
    (
        "search_space: {cnn: {filter_sizes: [[3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3]]}}",
        "my.yaml: search_space.cnn.filter_sizes has 17 filter sizes at once; 16 at most",
    ),
    (
        "search_space: {cnn: {num_filters: [" + ", ".join(map(str, range(1, 101))) + "]}}",
        "my.yaml: search_space.cnn.num_filters has 100 choices; 64 at most",
    ),
    (
        "training: {device: 'cuda:\u0663'}",
        "my.yaml: training.device must be auto, cpu, cuda or one card such as cuda:1, but got 'cuda:\u0663'",
    ),
]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are named as a user names them, and whatever passes by mistake starts nothing."""
    monkeypatch.chdir(tmp_path)

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a run began")

    monkeypatch.setattr("cnn_lstm_hyperopt.cli.study._run", refuse)


@pytest.mark.parametrize(("text", "message"), FILES, ids=lambda text: ascii(text)[:50])
def test_a_wrong_config_file_is_told_exactly(text: str, message: str) -> None:
    Path("my.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_settings(Path("my.yaml"), environment={})
    assert str(caught.value) == message


BYTES = [
    (b"\x80\x04\x95", "--config my.yaml is no UTF-8 text (line 1, byte 0); save it as UTF-8"),
    (
        "a: 1\nstudy: {seed: 3}".encode("utf-16-le"),
        "--config my.yaml is no valid YAML: line 1: the character #x0000 is not allowed",
    ),
    (b"a: 1\nb: \xff", "--config my.yaml is no UTF-8 text (line 2, byte 8); save it as UTF-8"),
    (
        b"# " + b"x" * 1_000_000,
        "--config my.yaml is larger than 1,000,000 bytes; a file of this kind has a few thousand, so is"
        " it the right one?",
    ),
]


@pytest.mark.parametrize(("content", "message"), BYTES, ids=lambda content: ascii(content)[:30])
def test_a_file_of_other_things_is_told_exactly(content: bytes, message: str) -> None:
    Path("my.yaml").write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_settings(Path("my.yaml"), environment={})
    assert str(caught.value) == message


def test_values_are_counted_before_they_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_reader, "MAX_VALUES", 50)
    Path("my.yaml").write_text("data:\n  symbols:\n" + "  - x\n" * 60, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"is no valid YAML: line 48, column 5: more than 50 values$"):
        load_settings(Path("my.yaml"), environment={})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '{"study": {"seed": 1, "seed": 2}}',
            "--config my.json is no valid JSON: seed is a duplicate key; remove one",
        ),
        ('{"study": {"timeout": NaN}}', "--config my.json is no valid JSON: NaN is no number in JSON"),
        (
            '{"study": {"seed": ' + "9" * 500 + "}}",
            "--config my.json is no valid JSON: the number 99999999999999999999… has 500 digits; 400 at most",
        ),
        ("[" * 100_000, "--config my.json is no valid JSON: it is nested too deeply"),
    ],
    ids=lambda text: text[:40],
)
def test_a_wrong_json_file_is_told_exactly(text: str, message: str) -> None:
    Path("my.json").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_settings(Path("my.json"), environment={})
    assert str(caught.value) == message


def test_of_thousands_of_faults_the_first_are_told_and_how_many_more_there_are() -> None:
    Path("my.yaml").write_text(
        "study: {" + ", ".join(f"k{number}: 1" for number in range(3_000)) + "}", encoding="utf-8"
    )
    with pytest.raises(ConfigError) as caught:
        load_settings(Path("my.yaml"), environment={})
    head, first, *_, last = str(caught.value).split("\n")
    assert head == "my.yaml: 3000 settings are wrong:"
    assert first.startswith("  study.k0 is not a setting; study has name, ")
    assert last.startswith("  … and ")
    assert len(str(caught.value)) < 4_000


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "STUDY__SEED",
            "2001-13-01",
            "the variable CNN_LSTM_HYPEROPT__STUDY__SEED is no valid YAML: line 1, column 1: 2001-13-01 is"
            " not valid (month must be in 1..12)",
        ),
        (
            "STUDY__SEED",
            "0x" + "f" * 500,
            "the variable CNN_LSTM_HYPEROPT__STUDY__SEED is no valid YAML: line 1, column 1:"
            " 0xffffffffffffffffff…ffffffffffffffffffff has more than 400 digits",
        ),
        (
            "__SEED",
            "1",
            "the variable CNN_LSTM_HYPEROPT____SEED names no setting; write"
            " CNN_LSTM_HYPEROPT__STUDY__N_TRIALS, for example",
        ),
    ],
)
def test_a_wrong_variable_is_told_exactly(name: str, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(None, None, {f"CNN_LSTM_HYPEROPT__{name}": text})
    assert str(caught.value) == message


# ---------------------------------------------------------------------- flags

FLAGS = [
    (["run", "--n-trails", "5"], "Unknown option: --n-trails. Did you mean --n-trials? (see --help)"),
    (["run", "--n-trials"], 'Command "run" parameter --n-trials requires an argument (see --help)'),
    (["run", "--n-trials", "1e3"], "Invalid value for --n-trials: must be a whole number, but got '1e3' (see --help)"),
    (
        ["run", "--n-trials", "999999999999999999999999999999"],
        "--n-trials: study.n_trials must be less than or equal to 10000000, but got 999999999999999999999999999999",
    ),
    *(
        (
            ["run", "--n-trials", text],
            f"Invalid value for --n-trials: must be a whole number, but got {text!r} (see --help)",
        )
        for text in ("\uff11\uff10", "\u0663", "1_0", "1.0")
    ),
    (
        ["run", "--n-trials", "-1", "--config", "good.yaml"],
        "--n-trials: study.n_trials must be greater than or equal to 1, but got -1",
    ),
    (
        ["resume", "--save-dir", "study", "--timeout", "0"],
        "--timeout: study.timeout must be greater than or equal to 0.001, but got 0.0",
    ),
    (
        ["run", "--timeout", "\uff11"],
        "Invalid value for --timeout: must be a number of seconds, but got '\uff11' (see --help)",
    ),
    (["run", "--timeout", "1e-300"], "--timeout: study.timeout must be greater than or equal to 0.001, but got 1e-300"),
    (["run", "--timeout", "nan"], "--timeout: study.timeout must be a finite number, but got nan"),
    (["run", "--seed", "1", "--seed", "2"], "Parameter --seed specified multiple times (see --help)"),
    (["run", "--portfolio", "--no-portfolio"], "Parameter --no-portfolio specified multiple times (see --help)"),
    (["run", "5\u001b[31m"], "Unused Tokens: ['5\\x1b[31m'] (see --help)"),
    (
        ["runn"],
        'Unknown command "runn". Did you mean "run"? Commands: run, data, resume, status, report, predict, export,'
        " narrow, track (see --help)",
    ),
    (["run", "--save-dir", ""], "Invalid value for --save-dir: must be a path, but is empty (see --help)"),
    (["run", "--config", "a\nb.yaml"], "--config a\\nb.yaml can't be read: No such file or directory"),
    (
        ["run", "--config", "/dev/zero"],
        "--config /dev/zero is no file, but a pipe or a device; write what it holds into a file and name that",
    ),
    (
        ["run", "--config", "pipe"],
        "--config pipe is no file, but a pipe or a device; write what it holds into a file and name that",
    ),
    (["run", "--config", "~/none.yaml"], "--config ~/none.yaml can't be read: No such file or directory"),
    (["run", "--save-dir", "s3://b/x"], "--save-dir: save_dir must be a local directory, but got 's3:/b/x'"),
    (
        ["run", "--data-dir", "~nobody-of-this-name"],
        "--data-dir: data.data_dir must begin with the directory of a user whom there is, but got '~nobody-of-this-name'",
    ),
    (
        ["run", "--start", "yesterday"],
        'Invalid value for --start: unable to convert "yesterday" into date (see --help)',
    ),
    (
        ["run", "--resume", "--no-portfolio", "--save-dir", "study"],
        "--no-portfolio chooses a new study's first trials; a resumed one keeps its own, so leave it out",
    ),
    (
        ["run", "--resume", "--study-name", "other", "--save-dir", "study"],
        "--study-name other: the study in study is named mine; leave it out",
    ),
    (
        ["resume", "--save-dir", "study", "--n-trials", "1"],
        "--n-trials 1 is the new total, but the study in study has 2 finished trials already; give 2 or"
        " more, or leave it out",
    ),
    (
        ["resume", "--save-dir", "a\u0000b"],
        "--save-dir: save_dir must be a path without control characters, but got 'a\\x00b'",
    ),
    (
        ["narrow", "--save-dir", "study", "--output", "."],
        "--output . is a directory; name a file in it, such as narrowed.yaml",
    ),
    (
        ["narrow", "--save-dir", "study", "--output", "study/config.yaml"],
        "--output study/config.yaml is a file of the study; name another, such as narrowed.yaml",
    ),
    (
        ["run", "--workers", "1.5"],
        "Invalid value for --workers: must be a whole number, but got '1.5'; auto is a worker a core (see --help)",
    ),
    (
        ["run", "--sampler", "bayes"],
        'Invalid value "bayes" for --sampler. Choose from: "auto", "tpe", "cmaes", "random", "nsga2", "gp". Did you'
        ' mean "cmaes"? (see --help)',
    ),
    (
        ["run", "--source", "yahoo", "--symbols", "../A"],
        "--symbols: data.symbols must be names such as AAPL and no paths, but got '../A'",
    ),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Here lies ``study/`` with two trials."""
    place = tmp_path_factory.mktemp("place")
    (place / "study").mkdir()
    (place / "study/config.yaml").write_text("save_dir: study\n", encoding="utf-8")
    (place / "good.yaml").write_text("study: {n_trials: 5}\n", encoding="utf-8")
    os.mkfifo(place / "pipe")
    storage = StudyStorage(place / "study/study.db", create="mine", attributes={"n_trials": 3})
    for _ in range(2):
        trial_id, _number = storage.start({}, {}, {"size_mb": 1.0})
        storage.finish(trial_id, State.COMPLETE, Values(0.7, 1, 1), {})
    storage.close()
    return place


@pytest.mark.parametrize(("arguments", "message"), FLAGS, ids=lambda value: ascii(value)[:60])
def test_a_wrong_flag_is_told_exactly(
    place: Path,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(place)
    assert cli.main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"Error: {message}\n"


@pytest.mark.parametrize("command", ["run", "data", "resume", "status", "narrow"])
def test_a_working_directory_that_is_gone_is_told_in_one_line(
    tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert cli.main([command]) == 2
    assert capsys.readouterr().err == (
        "Error: the working directory is gone (No such file or directory); go to another with cd\n"
    )


# ---------------------------------------------------------------------- the Python door


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"config": 5}, "config must be a YAML file or a mapping of settings, but got 5"),
        ({"config": [1]}, "config must be a YAML file or a mapping of settings, but got [1]"),
        ({"config": "nowhere.yaml"}, "--config nowhere.yaml can't be read: No such file or directory"),
        ({"config": {1: 2}}, "1 must be text, as the name of a setting is, but got 1"),
        ({"save_dir": ""}, "save_dir must name a file or a directory, but got ''"),
        ({"save_dir": 5}, "save_dir must be a path, but got 5"),
        ({"study_name": "a\x00b"}, "study.name must be text without control characters, but got 'a\\x00b'"),
        ({"study_name": 5}, "study.name must be text, but got 5; put it in quotes"),
        ({"save_dir": "http://x/y"}, "save_dir must be a local directory, but got 'http://x/y'"),
        (
            {"config": {"studdy": None}},
            f"studdy is not a setting; the file has {', '.join(Settings.model_fields)}; did you mean study?",
        ),
    ],
    ids=str,
)
def test_wrong_arguments_are_told_exactly(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        CNNLSTMHyperparameterOptimizer(quiet=True, **arguments)
    assert str(caught.value) == message


def test_what_is_wrong_in_a_file_is_told_with_its_name() -> None:
    Path("my.yaml").write_text("study: {seed: -1}", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"^my\.yaml: study\.seed must be greater than or equal to 0, but got -1$"):
        CNNLSTMHyperparameterOptimizer(config="my.yaml", quiet=True)


# ---------------------------------------------------------------------- what is written


def test_a_cell_that_a_spreadsheet_would_run_is_text_and_numbers_stay_numbers() -> None:
    space = parse_space(None)[0]
    reasons = ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "plain"]
    records = [
        TrialRecord(
            number=number,
            state=State.COMPLETE,
            params=random_configuration(space, 0, number),
            values=Values(-0.5, 1.0, 1.0),
            size_mb=1.0,
            curve=(),
            seconds=1.0,
            projected_seconds=None,
            reason=reason,
            retry_of=None,
            attributes={},
        )
        for number, reason in enumerate(reasons)
    ]
    rows = list(csv.DictReader(io.StringIO(trials_csv(records, space, SkillThreshold(0.5, 100), train_share=1.0))))
    assert [row["reason"] for row in rows] == ["'=1+1", "+1", "-1", "'@SUM(A1)", "'\tx", "plain"]
    assert {row["accuracy"] for row in rows} == {"-0.5"}
