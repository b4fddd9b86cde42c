"""The command line's inputs: wrong ones end with code 2 and one line, right ones become settings, help is complete."""

import io
import itertools
import logging
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

import optuna
import pytest
from rich.console import Console

from cnn_lstm_hyperopt import cli
from cnn_lstm_hyperopt.cli.options import DataOptions, RunOptions
from cnn_lstm_hyperopt.config import Fixed, Settings, dump_settings, load_settings
from cnn_lstm_hyperopt.config.schema.data import Target
from cnn_lstm_hyperopt.errors import HyperoptError
from cnn_lstm_hyperopt.search import State, StudyStorage, Values
from cnn_lstm_hyperopt.search.pruners import PRUNERS
from cnn_lstm_hyperopt.search.samplers import SAMPLERS

REAL = ["run", "--use-real-data"]
Start = Callable[..., dict[str, Any]]


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Relative paths lead here; what a run sets for its process is undone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    logger = logging.getLogger("cnn_lstm_hyperopt")
    level = logger.level
    yield
    logger.setLevel(level)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Start:
    """Run a command line up to the search; return the settings and switches of the search."""
    found: dict[str, Any] = {}

    def run(settings: Settings, _: Any, **switches: Any) -> None:
        found.update(settings=settings, **switches)

    for name in ("run", "dry_run"):
        monkeypatch.setattr(f"cnn_lstm_hyperopt.pipeline.run.{name}", run)

    def start(*arguments: str) -> dict[str, Any]:
        assert cli.main(list(arguments)) == 0
        return found

    return start


@pytest.fixture(scope="module")
def made_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What :func:`files` copies."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "other").mkdir()
    for name, text in (
        ("a_file", "x"),
        ("list.yaml", "- 1"),
        ("purge.yaml", "data: {source: embedded, purge: 1}"),
        ("typo.yaml", "data: {source: embedded}\nstudy: {n_trails: 3}"),
        ("loaders.yaml", "data: {source: loaders}"),
        ("zero.yaml", "data: {source: embedded}\nconstraints: {latency_ms: 0}"),
        ("bound.yaml", "data: {source: embedded}\nconstraints: {latency_msec: 5}"),
    ):
        (folder / name).write_text(text)
    optuna.create_study(storage=f"sqlite:///{folder}/other/study.db", directions=["minimize"] * 3)
    for name in ("empty", "half", "study"):
        (folder / name).mkdir()
    (folder / "half" / "results.json").write_text("{}")
    (folder / "half" / "config.yaml").write_text("data: {source: embedded}\nsave_dir: half\n")
    (folder / "study" / "config.yaml").write_text("data: {source: embedded}\nsave_dir: study\n")
    storage = StudyStorage(folder / "study" / "study.db", create="mine", attributes={"n_trials": 3})
    for _ in range(2):
        trial_id, _number = storage.start({}, {}, {"size_mb": 1.0})
        storage.finish(trial_id, State.COMPLETE, Values(0.7, 1, 1), {})
    storage.close()
    return folder


@pytest.fixture
def files(made_files: Path, tmp_path: Path) -> Path:
    """Files and folders that the wrong inputs below name."""
    return Path(shutil.copytree(made_files, tmp_path, dirs_exist_ok=True))


NOT_PARSED = [
    "run --n-trails 5",
    "run --n-trials",
    "run --n-trials 1e3",
    "run --timeout soon",
    "run --seed ١",
    "run --start 2001-13-01",
    "run --sampler bayes",
    "run --ensemble sum",
    "run --enqueue",
    "run --library",
    "run --workers all",
    "run --source loaders",
    "run --seed 1 --seed 2",
    "run --portfolio --no-portfolio",
    "run --save-dir ''",
    "run --batch-size 32.5",
    "run 5",
    "data --n-trials 5",
    "resume --enqueue list.yaml",
    "update --model",
    "evaluate --walk-forward many --model empty --data-dir bars",
    "evaluate --walk-forward 1.5 --model empty --data-dir bars",
    "rollback --model",
]
REFUSED = [
    ("run --use-real-data --n-trials -5", "study.n_trials", "greater-than-equal"),
    ("run --use-real-data --batch-size 0", "search_space.training.batch_size", "out-of-range"),
    ("run --use-real-data --workers 1025", "workers", "less-than-equal"),
    ("run --use-real-data --start 2005-01-01 --end 2004-01-01", "data.start", "start-not-before-end"),
    ("run --use-real-data --symbols", "--symbols", "empty-list"),
    ("run --use-real-data --feature-columns", "--feature-columns", "empty-list"),
    ("run --use-real-data --feature-columns mood", "data.feature_columns", "feature-columns-need-files"),
    ("run --use-real-data --data-dir bars", "--use-real-data", "two-sources"),
    ("run --use-real-data --source synthetic", "--use-real-data", "two-sources"),
    ("run --source yahoo --data-dir bars", "--source", "two-sources"),
    ("run --source files", "data.data_dir", "no-folder"),
    ("run --source yahoo", "data.symbols", "symbols-required"),
    ("run --symbols AAPL IBM", "--symbols", "symbols-without-source"),
    *(
        (f"run {flags}", "data.source", "no-data")
        for flags in ("", "--retrain-best", "--config small", "--dry-run", "--timeout 9")
    ),
    *(
        (f"run --demo {flags}", "--demo", "demo-with-other-data")
        for flags in ("--config small", "--data-dir bars", "--source yahoo")
    ),
    ("run --config nowhere.yaml", "--config", "unreadable"),
    ("run --config empty", "--config", "unreadable"),
    ("run --config /dev/zero", "--config", "unreadable"),
    ("run --config list.yaml", "--config", "not-a-mapping"),
    ("run --config typo.yaml", "study.n_trails", "unknown-setting"),
    ("run --config loaders.yaml", "data.source", "source-needs-python"),
    ("run --config zero.yaml", "constraints.latency_ms", "greater-than"),
    ("run --config bound.yaml", "constraints.latency_msec", "unknown-setting"),
    ("run --config purge.yaml --horizon 5", "data.purge", "purge-below-horizon"),
    ("run --data-dir nowhere", "data.data_dir", "data-dir-missing"),
    ("run --data-dir empty", "data.data_dir", "data-dir-empty"),
    ("run --use-real-data --resume --recalibrate", "--recalibrate", "new-study-only"),
    ("run --use-real-data --resume --no-portfolio", "--no-portfolio", "new-study-only"),
    ("run --resume --study-name other --save-dir study", "--study-name", "other-study-name"),
    ("resume --save-dir study --n-trials 1", "--n-trials", "total-below-finished"),
    ("resume --save-dir empty", "--save-dir", "no-config-file"),
    ("update --model empty --data-dir bars", "model.json", "file-missing"),
    ("evaluate --model empty --data-dir bars --walk-forward 6 --refit", "model.json", "file-missing"),
    ("evaluate --model empty --data-dir bars --walk-forward 0", "--walk-forward", "too-few-periods"),
    ("evaluate --model empty --data-dir bars --walk-forward 1 --refit", "--walk-forward", "too-few-periods"),
    ("evaluate --model empty --data-dir bars --walk-forward 6 --output list.yaml", "--output", "output-exists"),
    ("rollback --model empty", "model.json", "file-missing"),
    ("data --data-dir empty", "data.data_dir", "data-dir-empty"),
    ("data --use-real-data --symbols ZZZZ", "data.symbols", "unknown-symbol"),
    ("run --use-real-data --artifacts file:///tmp/x", "study.artifacts", "artifacts-without-server"),
    ("worker --artifacts s3://bucket/x", "study.artifacts", "artifacts-without-server"),
    ("worker --artifacts /tmp/x --storage postgresql://me@host/db", "study.artifacts", "not-an-artifacts-url"),
    *(
        (f"worker --artifacts file:///tmp/x --storage postgresql://me@host/db {flag} study", flag, "two-sources")
        for flag in ("--save-dir", "--data-dir")
    ),
    ("worker --save-dir empty", "--save-dir", "no-config-file"),
    # rules of other packages, whose tests check the codes
    ("run --use-real-data --enqueue nowhere.yaml", None, None),
    ("run --use-real-data --library list.yaml", "study.library", "library-not-writable"),
    ("run --use-real-data --save-dir empty --resume", None, None),
    ("run --use-real-data --save-dir study", None, None),
    ("resume --save-dir half", None, None),
    ("status --save-dir empty", None, None),
    ("status --save-dir other", None, None),
]


def refused(command: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that must end with code 2 and one line, and change nothing; return the line."""
    before = sorted(folder.rglob("*"))
    assert cli.main(shlex.split(command)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("Error: ")
    assert captured.err.count("\n") == 1
    assert sorted(folder.rglob("*")) == before
    return captured.err


@pytest.mark.parametrize("command", NOT_PARSED)
def test_a_command_line_that_can_not_be_parsed(files: Path, capsys: Any, command: str) -> None:
    line = refused(command, files, capsys)
    assert next((word for word in command.split() if word.startswith("--")), command.split()[-1]).lstrip("-") in line


@pytest.mark.parametrize(("command", "field", "code"), REFUSED)
def test_an_input_that_breaks_a_rule(
    files: Path, capsys: Any, command: str, field: str | None, code: str | None
) -> None:
    refused(command, files, capsys)
    with pytest.raises(HyperoptError) as caught:
        cli.app(shlex.split(command), exit_on_error=False, print_error=False, result_action="return_value")
    assert code is None or (caught.value.field, caught.value.code) == (field, code)


@pytest.mark.parametrize("command", ["run", "data", "resume", "status", "narrow"])
def test_a_working_directory_that_is_gone(
    command: str, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert cli.main([command]) == 2
    assert capsys.readouterr().err.count("\n") == 1


ERRORS = [(ZeroDivisionError("x"), 1), (PermissionError(13, "denied", "/x"), 2), (OSError(28, "disk full"), 1)]


@pytest.mark.parametrize(("error", "code"), [*ERRORS, (KeyboardInterrupt(), 130)], ids=repr)
def test_an_exception_is_one_line_and_a_traceback_with_debug(
    error: BaseException, code: int, files: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("cnn_lstm_hyperopt.pipeline.run.run", fail)
    for save_dir in ("study", "empty"):
        assert cli.main([*REAL, "--save-dir", save_dir]) == code
        line = capsys.readouterr().err
        assert line.count("\n") == 1
        assert ("cnn-lstm-hyperopt resume --save-dir study" in line) == (code == 130 and save_dir == "study")
    for flags, expected in ((["--debug"], code), (["--debug", "--n-trials", "0"], 2)):
        assert cli.main([*REAL, *flags]) == expected
        assert capsys.readouterr().err.startswith("Traceback")


@pytest.mark.parametrize(
    ("arguments", "path", "expected"),
    [
        ("--n-trials 7", "study.n_trials", 7),
        ("--timeout 1.5", "study.timeout", 1.5),
        ("--study-name mine", "study.name", "mine"),
        ("--storage postgresql://me:secret@host/db", "study.storage", "postgresql+psycopg://me@host/db"),
        ("--seed 3", "study.seed", 3),
        ("--symbols AAPL IBM MSFT", "data.symbols", ("AAPL", "IBM", "MSFT")),
        ("--symbols AAPL --symbols IBM", "data.symbols", ("AAPL", "IBM")),
        ("--symbols AAPL IBM --seed 1", "data.symbols", ("AAPL", "IBM")),
        ("--start 2001-02-03", "data.start", date(2001, 2, 3)),
        ("--end 2001-02-03", "data.end", date(2001, 2, 3)),
        *((f"--target {target}", "data.target", target) for target in get_args(Target)),
        ("--source yahoo", "data.source", "yahoo"),
        ("--on-bad-bars drop", "data.on_bad_bars", "drop"),
        ("--exchange XNYS", "data.exchange", "XNYS"),
        ("--feature-columns mood news", "data.feature_columns", ("mood", "news")),
        ("--features mine:more", "data.features", "mine:more"),
        ("--cv-folds 3", "data.cv_folds", 3),
        ("--metric mcc", "study.metric", "mcc"),
        ("--lookback 30", "data.lookback", 30),
        ("--horizon 5", "data.horizon", 5),
        ("--max-epochs 4", "training.max_epochs", 4),
        ("--device cpu", "training.device", "cpu"),
        ("--sampler random", "sampler.type", "random"),
        ("--pruner none", "pruner.type", "none"),
        ("--portfolio", "study.portfolio", True),
        ("--select-features", "features.select", True),
        ("--tracking-uri http://127.0.0.1:5000", "mlflow.tracking_uri", "http://127.0.0.1:5000"),
        ("--register mine", "mlflow.register_as", "mine"),
        ("--trackers tensorboard wandb", "tracking.trackers", ("tensorboard", "wandb")),
        ("--no-report", "report", False),
        ("--no-mlflow", "mlflow.enabled", False),
        ("--retrain-best", "retrain.enabled", True),
        ("--top-k 2", "retrain.top_k", 2),
        ("--also balanced 12", "retrain.also", ("balanced", 12)),
        ("--full-epochs 9", "retrain.full_epochs", 9),
        ("--test-periods 4", "evaluation.test_periods", 4),
        ("--baseline mine:a --baseline mine:b", "evaluation.baselines", ("mine:a", "mine:b")),
        ("--ensemble stack", "retrain.ensemble", "stack"),
        ("--ensemble none", "retrain.ensemble", "none"),
        ("--no-refit", "retrain.refit", False),
        ("--workers 3", "workers", 3),
        ("--workers auto", "workers", "auto"),
        ("--engine ray", "engine", "ray"),
        ("--gpus-per-trial 0.25", "gpus_per_trial", 0.25),
        ("--save-dir there", "save_dir", Path("there")),
        ("", "data.source", "embedded"),
    ],
)
def test_a_flag_sets_its_setting_and_no_other(started: Start, arguments: str, path: str, expected: Any) -> None:
    settings = started(*REAL, *arguments.split())["settings"]
    value, plain = settings, load_settings(None, {"data": {"source": "embedded"}}).model_dump()
    given = settings.model_dump()
    *sections, name = path.split(".")
    for section in sections:
        value = getattr(value, section)
        plain, given = plain[section], given[section]
    assert getattr(value, name) == expected
    assert {k: v for k, v in given.items() if k != name} == {k: v for k, v in plain.items() if k != name}


def test_every_flag_is_tried_above_or_is_a_switch() -> None:
    rows = test_a_flag_sets_its_setting_and_no_other.pytestmark[0].args[1]
    tried = {
        flag.replace("--no-", "--") for arguments, *_ in rows for flag in arguments.split() if flag.startswith("--")
    }
    switches = "use-real-data batch-size architecture enqueue resume demo dry-run recalibrate quiet verbose debug config data-dir"
    switches += " ray-address family artifacts library"  # below
    assert {"--" + f.name.replace("_", "-") for f in fields(RunOptions)} == tried | {f"--{s}" for s in switches.split()}


def test_a_cluster_is_named_with_its_engine_and_workers(started: Start) -> None:
    settings = started(*REAL, *["--engine", "ray", "--ray-address", "10.0.0.5:6379", "--workers", "8"])["settings"]
    assert (settings.engine, settings.ray_address, settings.workers) == ("ray", "10.0.0.5:6379", 8)


def test_the_folder_of_a_library_is_absolute(started: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert started(*REAL, "--library", "mine")["settings"].study.library == tmp_path / "mine"


def test_artifacts_are_named_with_the_server(started: Start) -> None:
    settings = started(*REAL, "--storage", "postgresql://me@host/db", "--artifacts", "s3://bucket/x/")["settings"]
    assert settings.study.artifacts == "s3://bucket/x"


@pytest.mark.parametrize(
    ("file", "flags", "expected"),
    [
        ("data: {data_dir: bars}", "--source embedded", {"source": "embedded", "data_dir": None}),
        ("data: {data_dir: bars}", "--source files", {"source": "files"}),
        ("data: {source: embedded}", "--data-dir bars", {"source": "files"}),
        ("data: {source: files, data_dir: bars}", "--use-real-data", {"source": "embedded", "data_dir": None}),
        ("{}", "--use-real-data --source files --data-dir bars", {"source": "files"}),
        ("{}", "--n-trials 1000 --retrain-best", {"source": "synthetic"}),
        ("{}", "--n-trials 5 --dry-run", {"source": "synthetic"}),
        ("{}", "--source synthetic --symbols SYN1", {"source": "synthetic", "symbols": ("SYN1",)}),
        ("data: {symbols: [SYN1]}", "", {"source": "synthetic", "symbols": ("SYN1",)}),
        ("data: {source: embedded}", "--symbols IBM", {"symbols": ("IBM",)}),
        ("data: {data_dir: bars}", "--symbols IBM", {"symbols": ("IBM",)}),
    ],
)
def test_flags_of_data_win_over_the_file(
    started: Start, tmp_path: Path, file: str, flags: str, expected: dict[str, Any]
) -> None:
    (tmp_path / "my.yaml").write_text(file)
    data = started("run", "--config", "my.yaml", *flags.split())["settings"].data
    assert {name: getattr(data, name) for name in expected} == expected
    assert data.data_dir in (None, tmp_path / "bars")


def test_flags_win_over_the_environment_that_over_the_file(
    started: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my.yaml").write_text("study: {n_trials: 5, seed: 8, timeout: 7, enqueue: theirs.yaml}\nworkers: 2")
    monkeypatch.setenv("CNN_LSTM_HYPEROPT__STUDY__N_TRIALS", "6")
    monkeypatch.setenv("CNN_LSTM_HYPEROPT__STUDY__SEED", "9")
    settings = started(*REAL, "--config", "my.yaml", "--n-trials", "3")["settings"]
    study = settings.study
    assert (study.n_trials, study.seed, study.timeout, settings.workers) == (3, 9, 7.0, 2)
    assert study.enqueue == tmp_path / "theirs.yaml"
    monkeypatch.setenv("CNN_LSTM_HYPEROPT__DATA__SOURCE", "synthetic")
    assert started("run")["settings"].data.source == "synthetic"
    assert started(*REAL, "--enqueue", "mine.json")["settings"].study.enqueue == tmp_path / "mine.json"


def test_the_demonstration_is_its_profile_and_flags_override_it(started: Start) -> None:
    assert started("run", "--demo")["settings"] == load_settings("demo")
    settings = started("run", "--demo", "--n-trials", "4", "--save-dir", "here")["settings"]
    assert (settings.study.n_trials, settings.save_dir.name, settings.data.source) == (4, "here", "embedded")
    assert started("run", "--config", "cnn_lstm_hyperopt_config")["settings"].data.source == "synthetic"


def test_batch_size_wins_over_the_config_that_a_run_wrote(started: Start, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(dump_settings(load_settings(None, {"data": {"source": "embedded"}})))
    space = started("run", "--config", "config.yaml", "--batch-size", "64")["settings"].search_space
    assert space.domains["training.batch_size"] == Fixed(64)


@pytest.mark.parametrize("workers", [1, 2, "auto"])
def test_resume_uses_as_many_workers_as_the_run_did(started: Start, tmp_path: Path, workers: Any) -> None:
    (tmp_path / "config.yaml").write_text(dump_settings(load_settings(None, {"workers": workers})))
    for flags, expected in ([], workers), (["--workers", "5"], 5), (["--workers", "auto"], "auto"):
        assert started("resume", "--save-dir", str(tmp_path), *flags)["settings"].workers == expected


def test_resume_takes_the_settings_of_the_run_a_new_total_and_no_old_timeout(started: Start, tmp_path: Path) -> None:
    made = load_settings(None, {"study": {"n_trials": 5, "timeout": 1, "seed": 6}, "data": {"source": "embedded"}})
    (tmp_path / "config.yaml").write_text(dump_settings(made))
    resume = ["resume", "--save-dir", str(tmp_path)]
    assert started(*REAL)["resume"] is False
    assert started(*resume)["resume"] is False  # the run ended before it created its study
    (tmp_path / "results.json").write_text("{}")
    found = started(*resume, "--n-trials", "8", "--retrain-best", "--quiet", "--no-mlflow")
    settings = found["settings"]
    assert (settings.study.n_trials, settings.study.timeout, settings.study.seed) == (8, None, 6)
    assert (settings.save_dir, settings.retrain.enabled, settings.mlflow.enabled) == (tmp_path, True, False)
    assert found["resume"] is True
    assert started("run", "--resume", "--save-dir", str(tmp_path))["resume"] is True
    again = started(*resume, "--timeout", "60")["settings"]
    assert (again.study.n_trials, again.study.timeout, again.retrain.enabled) == (5, 60.0, False)


def help_of(capsys: Any, *arguments: str) -> str:
    assert cli.main([*arguments, "--help"]) == 0
    return " ".join(capsys.readouterr().out.replace("│", " ").split())


def test_help_lists_the_commands_that_work(capsys: Any) -> None:
    assert cli.main([]) == 0
    text = capsys.readouterr().out
    commands = re.findall(r"^│ ([a-z]+) ", text, re.MULTILINE)
    first = ["run", "data", "resume", "status", "report", "predict", "export", "update", "evaluate", "rollback"]
    assert commands == [*first, "narrow", "track", "worker"]
    assert help_of(capsys) == " ".join(text.replace("│", " ").split())
    with ThreadPoolExecutor() as threads:  # without signal handlers
        assert threads.submit(cli.main, ["--version"]).result() == 0
    assert capsys.readouterr().out.strip() == version("cnn-lstm-hyperopt")


@pytest.mark.parametrize(
    ("command", "options", "negatives"),
    [("run", RunOptions, {"--no-portfolio", "--no-mlflow", "--no-refit", "--no-report"}), ("data", DataOptions, set())],
)
def test_help_lists_every_flag_with_its_description(
    capsys: Any, command: str, options: Any, negatives: set[str]
) -> None:
    text = help_of(capsys, command)
    words = set(re.findall(r"--[a-z][a-z-]*", text))
    assert {"--" + f.name.replace("_", "-") for f in fields(options)} <= words
    assert {word for word in words if word.startswith("--no-")} == negatives
    descriptions = [field.type.__metadata__[0].help for field in fields(options)]
    assert all(len(each) > 10 and each.split()[0] in text for each in descriptions)


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("command", ["data", "predict", "update", "evaluate", "worker"])
def test_paragraphs_of_help_fill_the_width_and_examples_have_lines(command: str, width: int) -> None:
    console = Console(width=width, file=io.StringIO())
    cli.app.help_print([command], console=console)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue().partition("╭")[0]
    *paragraphs, examples = [each.splitlines() for each in text.strip().split("\n\n")]
    for lines in paragraphs:
        for line, following in itertools.pairwise(lines):
            assert len(line.rstrip()) <= width < len(f"{line.rstrip()} {following.split()[0]}")
    assert all(line.startswith(f"  {command} ") for line in examples[1:2])


def test_help_shows_defaults_and_choices(capsys: Any) -> None:
    text, defaults = help_of(capsys, "run"), Settings()
    for value in (defaults.study.n_trials, defaults.retrain.full_epochs, defaults.sampler.type, defaults.save_dir):
        assert f"[default: {value}]" in text
    for family in (SAMPLERS, PRUNERS):
        assert f"[choices: auto, {', '.join(family)}]" in text
