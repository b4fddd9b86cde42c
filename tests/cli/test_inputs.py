"""The command line's inputs: wrong ones end with code 2 and one line, right ones become settings, help is complete."""

import logging
import re
from dataclasses import fields
from datetime import date
from pathlib import Path
from typing import get_args

import pytest
import yaml

from cnn_lstm_hyperopt import cli
from cnn_lstm_hyperopt.cli.options import DataOptions, RunOptions
from cnn_lstm_hyperopt.config import Choices, Fixed, Settings, dump_settings, load_settings
from cnn_lstm_hyperopt.config.schema.data import Target
from cnn_lstm_hyperopt.config.schema.search import PrunerName, SamplerName
from cnn_lstm_hyperopt.search import State, StudyStorage, Values

REAL = ["run", "--use-real-data"]


def raiser(error):
    def run(*_, **__):
        raise error

    return run


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """Relative paths end up here, and what a run sets for its process is taken back."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    # Whatever is wrong, nothing here starts a search.
    monkeypatch.setattr("cnn_lstm_hyperopt.pipeline.run.search_and_write", raiser(AssertionError("a search began")))
    logger = logging.getLogger("cnn_lstm_hyperopt")
    level = logger.level
    yield
    logger.setLevel(level)


@pytest.fixture
def files(tmp_path):
    """Files and folders that the wrong inputs below name."""
    (tmp_path / "a_file").write_text("x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "list.yaml").write_text("- 1\n")
    (tmp_path / "purge.yaml").write_text("data: {source: embedded, purge: 1}\n")
    (tmp_path / "typo.yaml").write_text("data: {source: embedded}\nstudy: {n_trails: 3}\n")
    (tmp_path / "loaders.yaml").write_text("data: {source: loaders}\nstudy: {n_trials: 3}\n")
    (tmp_path / "synthetic.yaml").write_text("data: {source: synthetic}\n")
    (tmp_path / "null.yaml").write_text("data: {source: null}\n")
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "results.json").write_text("{}")
    (tmp_path / "half" / "config.yaml").write_text("data: {source: embedded}\nsave_dir: half\n")
    (tmp_path / "study").mkdir()
    attributes = {"made_with": {"data.source": "embedded"}, "n_trials": 3}
    storage = StudyStorage(tmp_path / "study" / "study.db", create="mine", attributes=attributes)
    trial_id, _ = storage.start({}, {}, {"size_mb": 1.0})
    storage.finish(trial_id, State.COMPLETE, Values(0.7, 1, 1), {})
    storage.close()
    return tmp_path


BAD_INPUTS = [
    (["run", "--n-trails", "5"], ["Unknown option", "--n-trails", "Did you mean", "--n-trials"]),
    (["run", "--no-quiet"], ["Unknown option", "--no-quiet"]),
    (["runn"], ["Unknown command", "runn"]),
    (["run", "--n-trials", "five"], ["--n-trials", "five", "whole number"]),
    (["run", "--n-trials"], ["--n-trials", "requires an argument"]),
    (["run", "--timeout", "soon"], ["--timeout", "soon"]),
    (["run", "--start", "2001-13-01"], ["--start", "2001-13-01", "date"]),
    (["run", "--sampler", "bayes"], ["--sampler", "bayes", *get_args(SamplerName)]),
    (["run", "--pruner", "median2"], ["--pruner", "median2", 'Did you mean "median"']),
    (["run", "--pruner", "hyperband"], ["--pruner", "hyperband", *get_args(PrunerName)]),
    (["run", "--enqueue"], ["--enqueue", "requires an argument"]),
    ([*REAL, "--enqueue", "nowhere.yaml"], ["--enqueue", "/nowhere.yaml can't be read: No such file"]),
    ([*REAL, "--enqueue", "empty"], ["/empty is a directory without study.db and config.yaml"]),
    ([*REAL, "--enqueue", "list.yaml"], ["list.yaml: entry 1: must hold parameters, such as lstm.hidden_dim: 128"]),
    (["resume", "--enqueue", "list.yaml"], ["Unknown option", "--enqueue"]),
    (["resume", "--workers", "many"], ["--workers", "many"]),
    (["resume", "--no-portfolio"], ["Unknown option", "--no-portfolio"]),
    (["run", "--target", "price"], ["--target", "price", "direction", "volatility"]),
    ([*REAL, "--n-trials", "-5"], ["study.n_trials", "greater than or equal to 1", "got -5"]),
    ([*REAL, "--n-trials", "0"], ["study.n_trials", "got 0"]),
    ([*REAL, "--timeout", "-1"], ["--timeout: study.timeout", "greater than or equal to 0.001"]),
    ([*REAL, "--timeout", "nan"], ["study.timeout", "got nan"]),
    ([*REAL, "--seed", "-1"], ["study.seed", "got -1"]),
    ([*REAL, "--batch-size", "0"], ["search_space.training.batch_size must lie between 1 and 65536", "got 0"]),
    ([*REAL, "--top-k", "0"], ["retrain.top_k"]),
    ([*REAL, "--full-epochs", "0"], ["retrain.full_epochs"]),
    ([*REAL, "--device", "gpu"], ["training.device", "got 'gpu'"]),
    ([*REAL, "--study-name", ""], ["study.name", "at least 1 character"]),
    ([*REAL, "--symbols", "AAPL", "AAPL"], ["data.symbols names a symbol twice: 'AAPL'"]),
    ([*REAL, "--start", "2005-01-01", "--end", "2004-01-01"], ["start must be before end", "end=2004-01-01"]),
    *(
        (
            ["run", *config, "--symbols", "AAPL", "IBM"],
            ["--symbols needs a source of real bars", "--use-real-data (daily bars", "--data-dir DIR"],
        )
        for config in ([], ["--config", "synthetic.yaml"])
    ),
    (
        ["run", "--config", "null.yaml"],
        ["null.yaml: data.source must be ", "'synthetic', 'embedded', 'files', 'yahoo' or 'loaders'"],
    ),
    ([*REAL, "--workers", "all"], ["--workers", "all", "auto"]),
    ([*REAL, "--workers"], ["--workers", "requires an argument"]),
    ([*REAL, "--data-dir", "bars"], ["--use-real-data and --data-dir name two sources"]),
    ([*REAL, "--source", "synthetic"], ["--use-real-data and --source synthetic contradict each other"]),
    (["run", "--source", "yahoo", "--data-dir", "bars"], ["--source yahoo and --data-dir name two sources"]),
    (["run", "--source", "files"], ["source: files needs data_dir, the folder with SYMBOL.csv"]),
    (["run", "--source", "loaders"], ["--source", "loaders", "embedded", "yahoo"]),
    (["run", "--source", "yahoo"], ["source: yahoo needs symbols, such as --symbols AAPL MSFT"]),
    ([*REAL, "--on-bad-bars", "ignore"], ["--on-bad-bars", "ignore", "error", "drop", "keep"]),
    ([*REAL, "--metric", "f1"], ["--metric", "f1", "balanced_accuracy"]),
    ([*REAL, "--cv-folds", "0"], ["data.cv_folds", "got 0"]),
    ([*REAL, "--features", "nothing"], ["data.features", "got 'nothing'"]),
    ([*REAL, "--feature-columns", "mood"], ["data.feature_columns (mood) are columns of your own files", "embedded"]),
    ([*REAL, "--feature-columns"], ["--feature-columns needs at least one name"]),
    (["data", "--n-trials", "5"], ["Unknown option", "--n-trials"]),
    (["data", "--symbols", "AAPL"], ["--symbols needs a source of real bars"]),
    (["data", "--data-dir", "empty"], ["/empty holds no bars"]),
    (["data", "--use-real-data", "--symbols", "ZZZZ"], ["symbol ZZZZ is not embedded"]),
    (["run", "--config", "nowhere.yaml"], ["--config nowhere.yaml can't be read: No such file"]),
    (["run", "--config", "empty"], ["--config empty can't be read: Is a directory"]),
    (["run", "--config", "list.yaml"], ["--config list.yaml must hold sections", "holds list"]),
    (["run", "--config", "typo.yaml"], ["typo.yaml: study.n_trails is not a setting"]),
    (["run", "--config", "loaders.yaml"], ["source: loaders are a user's DataLoaders", "hand them over in Python"]),
    (["run", "--config", "purge.yaml", "--horizon", "5"], ["purge must be at least the horizon", "purge=1, horizon=5"]),
    ([*REAL, "--save-dir", "a_file"], ["--save-dir a_file is no directory; name another"]),
    ([*REAL, "--save-dir", "empty", "--resume"], ["empty holds no study.db", "without --resume"]),
    ([*REAL, "--save-dir", "study"], ["study already holds the study mine with 1 finished trials", "--resume"]),
    ([*REAL, "--symbols", "ZZZZ"], ["symbol ZZZZ is not embedded", "AAPL 2000-03-01 to 2013-03-01", "TSLA"]),
    ([*REAL, "--symbols", "AAPL", "aapl"], ["AAPL twice"]),
    ([*REAL, "--start", "2030-01-01"], ["no symbol has bars from 2030-01-01", "AAPL 2000-03-01 to"]),
    ([*REAL, "--lookback", "9999"], ["too few bars", "lookback 9999", "shorter lookback"]),
    (["run", "--data-dir", "nowhere"], ["/nowhere does not exist; give --data-dir a folder"]),
    (["run", "--data-dir", "empty"], ["/empty holds no bars; put SYMBOL.csv or SYMBOL.parquet into it"]),
    (["resume", "--save-dir", "empty"], ["--save-dir empty holds no config.yaml", "nothing to resume"]),
    (["resume", "--save-dir", "half"], ["half holds no study.db"]),
    (["resume", "--save-dir", "half", "--n-trials", "0"], ["study.n_trials", "got 0"]),
    (["resume", "--seed", "4"], ["Unknown option", "--seed"]),
    (["status", "--save-dir", "empty"], ["empty/study.db does not exist"]),
    (["status", "--save-dir", "nowhere"], ["nowhere/study.db does not exist"]),
    (["narrow", "--save-dir", "nowhere"], ["nowhere"]),
]


@pytest.mark.mostly_slow(34)
@pytest.mark.parametrize(("arguments", "fragments"), BAD_INPUTS, ids=lambda value: " ".join(value)[:60])
def test_bad_input_ends_with_code_2_and_one_line(files, capsys, arguments, fragments):
    before = sorted(files.rglob("*"))
    assert cli.main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("Error: ")
    assert len(captured.err.splitlines()) == 1
    assert "Traceback" not in captured.err
    for fragment in fragments:
        assert fragment in captured.err
    assert sorted(files.rglob("*")) == before  # nothing was started


@pytest.mark.parametrize("number", ["0", "-1", "1025"])
def test_a_wrong_number_of_workers_is_bad_input(capsys, number):
    assert cli.main([*REAL, "--workers", number]) == 2
    err = capsys.readouterr().err
    assert "workers" in err
    assert f"got {number}" in err


def test_a_wrong_variable_is_bad_input(files, capsys, monkeypatch):
    monkeypatch.setenv("CNN_LSTM_HYPEROPT__STUDY__N_TRIALS", "[1")
    assert cli.main(REAL) == 2
    assert capsys.readouterr().err.startswith("Error: the variable CNN_LSTM_HYPEROPT__STUDY__N_TRIALS is no valid YAML")
    monkeypatch.setenv("CNN_LSTM_HYPEROPT__STUDY__N_TRIALS", "0")
    assert cli.main(REAL) == 2
    assert capsys.readouterr().err.startswith(
        "Error: the variable CNN_LSTM_HYPEROPT__STUDY__N_TRIALS: study.n_trials must be "
    )


def test_several_faults_are_shown_together(tmp_path, capsys):
    (tmp_path / "bad.yaml").write_text("study: {n_trials: 0, seed: -1}\nretrain: {top_k: 0}\n")
    assert cli.main(["run", "--config", "bad.yaml"]) == 2
    head, *lines = capsys.readouterr().err.splitlines()
    assert head == "Error: bad.yaml: 3 settings are wrong:"
    assert len(lines) == 3


def test_debug_shows_the_traceback_before_the_line(capsys):
    assert cli.main([*REAL, "--n-trials", "0", "--debug"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("Traceback")
    assert err.splitlines()[-1].startswith("Error: --n-trials: study.n_trials")


def test_a_fault_of_the_program_is_one_line_with_code_1(monkeypatch, capsys):
    monkeypatch.setattr("cnn_lstm_hyperopt.cli.study._run", raiser(ZeroDivisionError("division by zero")))
    assert cli.main(REAL) == 1
    assert capsys.readouterr().err.splitlines() == [
        "Error: ZeroDivisionError: division by zero (a fault of this program; --debug shows where)"
    ]
    assert cli.main([*REAL, "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_an_interruption_ends_with_code_130_and_says_how_to_go_on(files, monkeypatch, capsys):
    monkeypatch.setattr("cnn_lstm_hyperopt.pipeline.run.run", raiser(KeyboardInterrupt()))
    assert cli.main([*REAL, "--save-dir", "study"]) == 130
    assert capsys.readouterr().err.splitlines() == [
        "Interrupted at once; go on with: cnn-lstm-hyperopt resume --save-dir study"
    ]
    assert cli.main([*REAL, "--save-dir", "empty"]) == 130
    assert capsys.readouterr().err.splitlines() == ["Interrupted; nothing was begun that could be gone on with"]
    assert cli.main([*REAL, "--debug"]) == 130
    assert capsys.readouterr().err.startswith("Traceback")


# ---------------------------------------------------------------------- flags become settings


@pytest.fixture
def settings_of(monkeypatch):
    """The settings and switches with which a command line would start a run."""
    started = {}
    monkeypatch.setattr(
        "cnn_lstm_hyperopt.cli.study._run", lambda settings, **switches: started.update(settings=settings, **switches)
    )

    def of(*arguments):
        assert cli.main(list(arguments)) == 0
        return started

    return of


@pytest.mark.parametrize(
    ("arguments", "path", "expected"),
    [
        (["--n-trials", "7"], "study.n_trials", 7),
        (["--timeout", "1.5"], "study.timeout", 1.5),
        (["--study-name", "mine"], "study.name", "mine"),
        (["--seed", "3"], "study.seed", 3),
        (["--symbols", "AAPL", "IBM", "MSFT"], "data.symbols", ("AAPL", "IBM", "MSFT")),
        (["--symbols", "AAPL", "--symbols", "IBM"], "data.symbols", ("AAPL", "IBM")),
        (["--symbols", "AAPL", "IBM", "--seed", "1"], "data.symbols", ("AAPL", "IBM")),
        (["--start", "2001-02-03"], "data.start", date(2001, 2, 3)),
        (["--end", "2001-02-03"], "data.end", date(2001, 2, 3)),
        *((["--target", target], "data.target", target) for target in get_args(Target)),
        (["--source", "yahoo"], "data.source", "yahoo"),
        (["--on-bad-bars", "drop"], "data.on_bad_bars", "drop"),
        (["--feature-columns", "mood", "news"], "data.feature_columns", ("mood", "news")),
        (["--features", "mine:more"], "data.features", "mine:more"),
        (["--cv-folds", "3"], "data.cv_folds", 3),
        (["--metric", "mcc"], "study.metric", "mcc"),
        (["--lookback", "30"], "data.lookback", 30),
        (["--horizon", "5"], "data.horizon", 5),
        (["--max-epochs", "4"], "training.max_epochs", 4),
        (["--device", "cpu"], "training.device", "cpu"),
        (["--sampler", "random"], "sampler.type", "random"),
        (["--sampler", "cmaes"], "sampler.type", "cmaes"),
        (["--pruner", "none"], "pruner.type", "none"),
        (["--pruner", "successive_halving"], "pruner.type", "successive_halving"),
        (["--portfolio"], "study.portfolio", True),
        (["--tracking-uri", "http://127.0.0.1:5000"], "mlflow.tracking_uri", "http://127.0.0.1:5000"),
        (["--register", "mine"], "mlflow.register_as", "mine"),
        (["--no-report"], "report", False),
        (["--no-mlflow"], "mlflow.enabled", False),
        (["--retrain-best"], "retrain.enabled", True),
        (["--top-k", "2"], "retrain.top_k", 2),
        (["--full-epochs", "9"], "retrain.full_epochs", 9),
        (["--workers", "3"], "workers", 3),
        (["--workers", "auto"], "workers", "auto"),
        (["--save-dir", "there"], "save_dir", Path("there")),
        ([], "data.source", "embedded"),
    ],
)
def test_a_flag_sets_its_setting_and_no_other(settings_of, arguments, path, expected):
    settings = settings_of(*REAL, *arguments)["settings"]
    value, plain = settings, load_settings(None, {"data": {"source": "embedded"}}).model_dump()
    given = settings.model_dump()
    *sections, name = path.split(".")
    for section in sections:
        value = getattr(value, section)
        plain, given = plain[section], given[section]
    assert getattr(value, name) == expected
    assert {k: v for k, v in given.items() if k != name} == {k: v for k, v in plain.items() if k != name}


def test_the_portfolio_can_be_left_out_and_taken_again(settings_of, tmp_path):
    (tmp_path / "my.yaml").write_text("study: {portfolio: false}\n")
    assert settings_of(*REAL, "--no-portfolio")["settings"].study.portfolio is False
    assert settings_of(*REAL, "--config", "my.yaml")["settings"].study.portfolio is False
    assert settings_of(*REAL, "--config", "my.yaml", "--portfolio")["settings"].study.portfolio is True


def test_what_is_enqueued_is_a_path_from_here(settings_of, tmp_path):
    (tmp_path / "my.yaml").write_text("study: {enqueue: theirs.yaml}\n")
    assert settings_of(*REAL)["settings"].study.enqueue is None
    assert settings_of(*REAL, "--config", "my.yaml")["settings"].study.enqueue == tmp_path / "theirs.yaml"
    given = settings_of(*REAL, "--config", "my.yaml", "--enqueue", "mine.json")
    assert given["settings"].study.enqueue == tmp_path / "mine.json"


def test_every_flag_is_tried_above_or_is_a_switch():
    tried = {
        flag for arguments, *_ in test_a_flag_sets_its_setting_and_no_other.pytestmark[0].args[1] for flag in arguments
    }
    switches = {
        "--resume",
        "--demo",
        "--dry-run",
        "--recalibrate",
        "--quiet",
        "--verbose",
        "--debug",
        "--config",
        "--data-dir",
        "--enqueue",
        "--batch-size",
        "--use-real-data",
    }
    assert {"--" + f.name.replace("_", "-") for f in fields(RunOptions)} == switches | {
        flag.replace("--no-", "--") for flag in tried if flag.startswith("--")
    }


def test_no_flags_override_nothing():
    assert RunOptions().overrides() == {}


def test_batch_size_fixes_it_and_it_leaves_the_space(settings_of):
    space = settings_of(*REAL, "--batch-size", "64")["settings"].search_space
    assert space.domains["training.batch_size"] == Fixed(64)
    assert "training.batch_size" not in space.searched()


def test_a_data_dir_means_files(settings_of):
    data = settings_of("run", "--data-dir", "bars")["settings"].data
    assert (data.source, data.data_dir) == ("files", Path("bars").absolute())


def test_a_source_is_chosen_by_name_and_wins_over_the_file(settings_of, tmp_path):
    (tmp_path / "my.yaml").write_text("data: {data_dir: bars}\n")
    data = settings_of("run", "--config", "my.yaml", "--source", "embedded")["settings"].data
    assert (data.source, data.data_dir) == ("embedded", None)
    data = settings_of("run", "--config", "my.yaml", "--source", "files")["settings"].data
    assert (data.source, data.data_dir) == ("files", Path("bars").absolute())
    data = settings_of("run", "--use-real-data", "--source", "files", "--data-dir", "bars")["settings"].data
    assert data.source == "files"


def test_symbols_of_the_synthetic_market_may_be_named_with_their_source(settings_of):
    data = settings_of("run", "--source", "synthetic", "--symbols", "SYN1")["settings"].data
    assert (data.source, data.symbols) == ("synthetic", ("SYN1",))


def test_symbols_of_the_synthetic_market_may_stand_in_the_file(settings_of, tmp_path):
    (tmp_path / "my.yaml").write_text("data: {symbols: [SYN1]}\n")
    assert settings_of("run", "--config", "my.yaml")["settings"].data.symbols == ("SYN1",)


@pytest.mark.parametrize("source", ["{source: embedded}", "{data_dir: bars}"])
def test_symbols_may_be_named_for_the_real_bars_of_the_file(settings_of, tmp_path, source):
    (tmp_path / "my.yaml").write_text(f"data: {source}\n")
    assert settings_of("run", "--config", "my.yaml", "--symbols", "IBM")["settings"].data.symbols == ("IBM",)


@pytest.fixture
def workers_of(monkeypatch):
    """The number of workers with which a command line would start a search; nothing is started."""
    from cnn_lstm_hyperopt.pipeline import run as flow

    started = []
    monkeypatch.setattr(flow, "run", lambda settings, *_, **__: started.append(settings.workers))

    def of(*arguments):
        started.clear()
        assert cli.main(list(arguments)) == 0
        return started.pop()

    return of


def test_the_command_line_uses_all_cores_unless_something_says_otherwise(workers_of, tmp_path, monkeypatch):
    (tmp_path / "two.yaml").write_text("workers: 2\n")
    (tmp_path / "other.yaml").write_text("study: {seed: 2}\n")
    assert workers_of(*REAL) == "auto"
    assert workers_of(*REAL, "--config", "other.yaml") == "auto"
    assert workers_of(*REAL, "--config", "two.yaml") == 2
    assert workers_of(*REAL, "--config", "two.yaml", "--workers", "auto") == "auto"
    assert workers_of(*REAL, "--config", "two.yaml", "--workers", "3") == 3
    monkeypatch.setenv("CNN_LSTM_HYPEROPT__WORKERS", "4")
    assert workers_of(*REAL) == workers_of(*REAL, "--config", "two.yaml") == 4
    assert workers_of(*REAL, "--workers", "1") == 1


@pytest.mark.parametrize("workers", [1, 2, "auto"])
def test_resume_uses_as_many_workers_as_the_run_did(workers_of, tmp_path, workers):
    (tmp_path / "config.yaml").write_text(dump_settings(load_settings(None, {"workers": workers})))
    assert workers_of("resume", "--save-dir", str(tmp_path)) == workers
    assert workers_of("resume", "--save-dir", str(tmp_path), "--workers", "5") == 5
    assert workers_of("resume", "--save-dir", str(tmp_path), "--workers", "auto") == "auto"


def test_flags_win_over_the_environment_and_that_over_the_file(settings_of, tmp_path, monkeypatch):
    (tmp_path / "my.yaml").write_text("study: {n_trials: 5, seed: 8, timeout: 7}\n")
    monkeypatch.setenv("CNN_LSTM_HYPEROPT__STUDY__N_TRIALS", "6")
    monkeypatch.setenv("CNN_LSTM_HYPEROPT__STUDY__SEED", "9")
    study = settings_of("run", "--config", "my.yaml", "--n-trials", "3")["settings"].study
    assert (study.n_trials, study.seed, study.timeout) == (3, 9, 7.0)


@pytest.mark.parametrize("switch", ["resume", "quiet", "debug"])
def test_switches_are_off_unless_given(settings_of, switch):
    assert settings_of(*REAL)[switch] is False
    assert settings_of(*REAL, f"--{switch}")[switch] is True


def test_flags_win_over_the_file_and_the_file_over_defaults(settings_of, tmp_path):
    (tmp_path / "my.yaml").write_text(
        "study: {n_trials: 5, seed: 8}\ndata: {source: files, data_dir: bars}\nsearch_space: {cnn: {num_filters: [8, 16]}}"
    )
    settings = settings_of("run", "--config", "my.yaml", "--n-trials", "9", "--use-real-data")["settings"]
    assert (settings.study.n_trials, settings.study.seed) == (9, 8)
    assert (settings.data.source, settings.data.data_dir) == ("embedded", None)
    assert settings.search_space.domains["cnn.num_filters"] == Choices((8, 16))


def test_resume_begins_a_study_that_a_run_ended_before(settings_of, tmp_path):
    (tmp_path / "config.yaml").write_text(dump_settings(load_settings(None, {"data": {"source": "embedded"}})))
    assert settings_of("resume", "--save-dir", str(tmp_path))["resume"] is False


def test_resume_takes_the_settings_of_the_run_a_new_total_and_no_old_timeout(settings_of, tmp_path):
    made = load_settings(None, {"study": {"n_trials": 5, "timeout": 1, "seed": 6}, "data": {"source": "embedded"}})
    (tmp_path / "config.yaml").write_text(dump_settings(made))
    (tmp_path / "results.json").write_text("{}")
    started = settings_of("resume", "--save-dir", str(tmp_path), "--n-trials", "8", "--retrain-best", "--quiet")
    settings = started["settings"]
    assert (settings.study.n_trials, settings.study.timeout, settings.study.seed) == (8, None, 6)
    assert (settings.save_dir, settings.retrain.enabled) == (tmp_path, True)
    assert (started["resume"], started["quiet"]) == (True, True)
    again = settings_of("resume", "--save-dir", str(tmp_path), "--timeout", "60")["settings"]
    assert (again.study.n_trials, again.study.timeout, again.retrain.enabled) == (5, 60.0, False)


def test_status_prints_its_lines(files, capsys):
    assert cli.main(["status", "--save-dir", "study"]) == 0
    assert capsys.readouterr().out.startswith("Study mine in study: 1 of ")


# ---------------------------------------------------------------------- help


def help_of(capsys, *arguments):
    assert cli.main([*arguments, "--help"]) == 0
    return capsys.readouterr().out


def test_help_lists_the_commands_that_work(capsys):
    text = help_of(capsys)
    commands = re.findall(r"^│ ([a-z]+) ", text, re.MULTILINE)
    assert commands == ["run", "data", "resume", "status", "report", "predict", "export", "narrow", "track"]
    assert "Start with: cnn-lstm-hyperopt run" in text
    assert cli.main([]) == 0
    assert capsys.readouterr().out == text


def test_help_of_run_lists_every_flag(capsys):
    words = set(re.findall(r"--[a-z][a-z-]*", help_of(capsys, "run")))
    assert {"--" + f.name.replace("_", "-") for f in fields(RunOptions)} <= words
    assert {word for word in words if word.startswith("--no-")} == {"--no-portfolio", "--no-mlflow", "--no-report"}


@pytest.mark.parametrize("field", fields(RunOptions), ids=lambda field: field.name)
def test_every_flag_of_run_has_a_description_in_its_help(field, capsys):
    parameter = field.type.__metadata__[0]
    assert len(parameter.help) > 10
    text = " ".join(help_of(capsys, "run").replace("│", " ").split())
    assert parameter.help.split()[0] in text


def test_help_shows_the_defaults_of_the_settings(capsys):
    text = " ".join(help_of(capsys, "run").replace("│", " ").split())
    defaults = Settings()
    for value in (defaults.study.n_trials, defaults.retrain.full_epochs, defaults.sampler.type, defaults.save_dir):
        assert f"[default: {value}]" in text


def test_help_of_data_lists_its_flags_and_teaches(capsys):
    text = help_of(capsys, "data")
    words = set(re.findall(r"--[a-z][a-z-]*", text))
    assert {"--" + f.name.replace("_", "-") for f in fields(DataOptions)} <= words
    assert "Examples: data --data-dir bars/" in " ".join(text.split())


@pytest.mark.parametrize("command", ["resume", "status", "narrow"])
def test_help_of_the_other_commands(command, capsys):
    text = help_of(capsys, command)
    assert "--save-dir" in text
    assert "[default: hyperopt_results]" in " ".join(text.replace("│", " ").split())


def test_samplers_and_pruners_in_the_help_are_those_there_are(capsys):
    text = " ".join(help_of(capsys, "run").replace("│", " ").split())
    from cnn_lstm_hyperopt.search.pruners import PRUNERS
    from cnn_lstm_hyperopt.search.samplers import SAMPLERS

    assert f"[choices: auto, {', '.join(SAMPLERS)}]" in text
    assert f"[choices: auto, {', '.join(PRUNERS)}]" in text


def test_version_is_the_packages(capsys):
    from importlib.metadata import version

    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == version("cnn-lstm-hyperopt")


# ---------------------------------------------------------------------- known defects, reported


def test_data_dir_wins_over_the_files_source(settings_of, tmp_path):
    (tmp_path / "my.yaml").write_text("data: {source: embedded}\n")
    assert settings_of("run", "--config", "my.yaml", "--data-dir", "bars")["settings"].data.source == "files"


def test_batch_size_wins_over_the_config_that_a_run_wrote(settings_of, tmp_path):
    """config.yaml has long forms only."""
    (tmp_path / "config.yaml").write_text(dump_settings(load_settings(None, {"data": {"source": "embedded"}})))
    settings = settings_of("run", "--config", "config.yaml", "--batch-size", "64")["settings"]
    assert settings.search_space.domains["training.batch_size"] == Fixed(64)


@pytest.mark.parametrize("arguments", [["5"], ["AAPL"], ["10", "60"]])
def test_words_without_a_flag_are_refused(settings_of, capsys, arguments):
    assert cli.main([*REAL, *arguments]) == 2
    assert "Unused" in capsys.readouterr().err


def test_symbols_needs_a_name(settings_of):
    assert cli.main([*REAL, "--symbols"]) == 2


@pytest.mark.parametrize("flag", ["--workers", "--n-trials", "--seed", "--lookback", "--batch-size"])
def test_a_fraction_is_no_whole_number(settings_of, capsys, flag):
    assert cli.main([*REAL, flag, "32.5"]) == 2
    assert "32.5" in capsys.readouterr().err


def test_a_wrong_number_of_workers_is_one_line(capsys):
    assert cli.main([*REAL, "--workers", "0"]) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert "constrained" not in err


def test_status_of_someone_elses_study_is_bad_input(tmp_path):
    import optuna

    theirs = optuna.create_study(storage=f"sqlite:///{tmp_path}/study.db", directions=["minimize"] * 3)
    theirs.add_trial(optuna.trial.create_trial(values=[1.0, 1.0, 1.0]))
    assert cli.main(["status", "--save-dir", str(tmp_path)]) == 2


def test_the_written_config_is_a_config(tmp_path):
    """What the tests above write is what a run writes."""
    tree = yaml.safe_load(dump_settings(load_settings()))
    assert tree["search_space"]["training"]["batch_size"] == {"choices": [16, 32, 64, 128]}
