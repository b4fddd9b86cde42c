"""Commands that create, continue and describe a study: ``run``, ``data``, ``resume``, ``status``, ``narrow``."""

import gc
import os
from json import dumps
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from cnn_lstm_hyperopt.cli.application import app
from cnn_lstm_hyperopt.cli.options import (
    Artifacts,
    DataOptions,
    Debug,
    Engine,
    Quiet,
    RayAddress,
    RunOptions,
    SaveDir,
    Storage,
    TrackingUri,
    Verbose,
    Workers,
    config_of,
    directory,
    settings_of,
)
from cnn_lstm_hyperopt.cli.values import path_of, seconds, whole
from cnn_lstm_hyperopt.config import Settings
from cnn_lstm_hyperopt.config.profiles import DEMO
from cnn_lstm_hyperopt.config.schema.retrain import EnsembleMethod
from cnn_lstm_hyperopt.errors import ConfigError, InterruptedRunError
from cnn_lstm_hyperopt.run_dir.paths import BACKUP_FILE, RESULTS_FILE, STUDY_FILE, command, resume_command
from cnn_lstm_hyperopt.utils.nested import put
from cnn_lstm_hyperopt.utils.processes import THREAD_VARIABLES, outliving_the_terminal


@app.command
def run(*, options: RunOptions | None = None) -> None:
    """Search for the best models. With --retrain-best, also retrain and test them.

    Examples: run --demo;
    run --data-dir bars/ --config small --target volatility --n-trials 30 --retrain-best;
    run --use-real-data --symbols AAPL IBM MSFT --target volatility --n-trials 100 --retrain-best;
    run --data-dir bars/ --config my.yaml --timeout 3600.
    """
    given = options or RunOptions()
    settings = settings_of(_profile(given), given.overrides())
    _symbols_need_real_bars(given, settings)
    _require_data(given, settings)
    if given.resume:
        _refuse_flags_of_new_studies(given)
        _require_matching_study(settings, n_trials=given.n_trials, name=given.study_name)
    _run(settings, given, resume=given.resume)


@app.command
def data(*, options: DataOptions | None = None) -> None:
    """Check the bars and show what a search would use. Start no search and write no files.

    Shows the range, the number of bars and the frequency of each symbol, all errors, all adjustments, and the windows, classes
    and dates of training, validation and test. Exits with code 2 if the bars cannot be used. All rules are in
    docs/explanation/data.md.

    Examples: data --data-dir bars/; data --data-dir bars/ --on-bad-bars drop --feature-columns sentiment --target volatility;
    data --source yahoo --symbols AAPL MSFT --start 2010-01-01.
    """
    given = options or DataOptions()
    settings = settings_of(given.config, given.overrides())
    _symbols_need_real_bars(given, settings)
    from cnn_lstm_hyperopt.models.inputs import possible_groups
    from cnn_lstm_hyperopt.reporting.console.terminal import Terminal
    from cnn_lstm_hyperopt.reporting.data_report import report_data

    report_data(settings.data, Terminal(), possible_groups(settings.whole_space))


Ensemble = Annotated[
    EnsembleMethod | None,
    Parameter(
        help="Weights of the ensemble; stored models are combined again without a training. [default: as before]"
    ),
]
Also = Annotated[
    tuple[str, ...] | None,
    Parameter(
        consume_multiple=True,
        negative="",
        help="More trials to retrain: trial numbers, or best_score, balanced, fastest, smallest. With other models, the test set"
        " is evaluated once more. [default: as before]",
    ),
]
Refit = Annotated[
    bool | None,
    Parameter(
        negative="--no-refit",
        help="Train the best retrained model again on training and validation windows, for use by predict, or do not."
        " [default: as before]",
    ),
]


@app.command
def resume(
    *,
    save_dir: SaveDir = Path("hyperopt_results"),
    n_trials: Annotated[int | None, Parameter(converter=whole, help="New total number of finished trials.")] = None,
    timeout: Annotated[float | None, Parameter(converter=seconds, help="Time limit of the search in seconds.")] = None,
    retrain_best: Annotated[
        bool, Parameter(negative="", help="Retrain the best trials, even if the run was started without this flag.")
    ] = False,
    also: Also = None,
    ensemble: Ensemble = None,
    refit: Refit = None,
    workers: Workers = None,
    engine: Engine = None,
    ray_address: RayAddress = None,
    storage: Storage = None,
    artifacts: Artifacts = None,
    mlflow: Annotated[
        bool | None,
        Parameter(negative="--no-mlflow", help="Copy the study to MLflow, or do not. [default: as before]"),
    ] = None,
    tracking_uri: TrackingUri = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
    debug: Annotated[bool, Parameter(negative="", help="Show the traceback of an error, and log every epoch.")] = False,
) -> None:
    """Continue an interrupted or killed study with the settings in its config.yaml."""
    save_dir = directory(save_dir)
    path = config_of(save_dir, "nothing to resume; start with: run")
    given = RunOptions(
        save_dir=save_dir,
        n_trials=n_trials,
        retrain_best=retrain_best,
        also=also,
        ensemble=ensemble,
        refit=refit,
        workers=workers,
        engine=engine,
        ray_address=ray_address,
        storage=storage,
        artifacts=artifacts,
        mlflow=mlflow,
        tracking_uri=tracking_uri,
        quiet=quiet,
        verbose=verbose,
        debug=debug,
    )
    overrides = given.overrides()
    put(overrides, "study.timeout", timeout)  # the timeout of the first run does not apply
    settings = settings_of(path, overrides)
    _require_matching_study(settings, n_trials=n_trials)
    # A run that ended before it created its study starts again.
    started = any((save_dir / name).exists() for name in (STUDY_FILE, BACKUP_FILE, RESULTS_FILE))
    if not started and settings.study.storage is not None:
        from cnn_lstm_hyperopt.search import database_of

        started = database_of(settings, resume=True).exists()
    _run(settings, given, resume=started)


@app.command
def status(
    *,
    save_dir: SaveDir = Path("hyperopt_results"),
    storage: Storage = None,
    json: Annotated[bool, Parameter(negative="", help="Print one JSON object, for programs.")] = False,
    debug: Debug = False,
) -> None:
    """Show the progress of a study and the next command. This also works while the study is running."""
    save_dir = directory(save_dir, storage)
    gc.disable()  # the process ends soon, and the collector would visit all trials again and again
    from cnn_lstm_hyperopt.reporting.status import status_facts, status_lines

    if json:
        print(dumps(status_facts(save_dir), allow_nan=False, indent=2))
        return
    for line in status_lines(save_dir):
        print(line)


@app.command
def narrow(
    *,
    save_dir: SaveDir = Path("hyperopt_results"),
    storage: Storage = None,
    output: Annotated[
        Path | None, Parameter(converter=path_of, help="File to write. [default: narrowed.yaml in the directory]")
    ] = None,
    debug: Debug = False,
) -> None:
    """Write a config file with a narrower search space: the region of the study's good trials.

    Shows each parameter with the number of good trials that have the parameter, its old range and its new range. A parameter
    with fewer than 8 good trials keeps its range. A new range has at least a quarter of the width of the old range. A choice
    is removed only if it was tried often enough.
    """
    from cnn_lstm_hyperopt.search.narrowing import narrow_study, narrowing_lines

    save_dir = directory(save_dir, storage)
    narrowed = narrow_study(save_dir, output or save_dir / "narrowed.yaml")
    for line in narrowed.outside:
        print(f"Warning: {line}")
    print(f"{narrowed.good} good trials:")
    for line in narrowing_lines(narrowed.narrowings):
        print(line)
    print(f"Written to {narrowed.path}; next: {command('run', '--config', narrowed.path)}")


def _refuse_flags_of_new_studies(given: RunOptions) -> None:
    portfolio = "--portfolio" if given.portfolio else "--no-portfolio"
    for flag, is_given, kept in (
        ("--recalibrate", given.recalibrate, "measured speeds"),
        (portfolio, given.portfolio is not None, "first trials"),
    ):
        if is_given:
            text = f"{flag} is for a new study; a resumed study keeps its {kept}, so leave it out"
            raise ConfigError(text, field=flag, code="new-study-only")


def _require_matching_study(settings: Settings, *, n_trials: int | None, name: str | None = None) -> None:
    """Raise an error if ``--n-trials`` is below the number of finished trials, or if the given name is not the study's name."""
    if n_trials is None and name is None:
        return
    from cnn_lstm_hyperopt.search import StudyStorage, database_of

    save_dir, database = settings.save_dir, database_of(settings, resume=True)
    if not database.exists():
        return
    storage = StudyStorage(database)
    try:
        stored, done = storage.study.study_name, sum(record.finished for record in storage.records())
    finally:
        storage.close()
    if n_trials is not None and n_trials < done:
        raise ConfigError(
            f"--n-trials {n_trials} is the new total, but the study in {save_dir} already has {done} finished trials; give"
            f" {done} or more, or leave it out",
            field="--n-trials",
            code="total-below-finished",
        )
    if name is not None and name != stored:
        text = f"--study-name {name}: the study in {save_dir} is named {stored}; leave it out"
        raise ConfigError(text, field="--study-name", code="other-study-name")


def _profile(given: RunOptions) -> Path | None:
    """Return the path in ``--config``. With ``--demo``, return the config file of the demonstration.

    Raises:
        ConfigError: ``--demo`` is used together with another source of data or with ``--config``.
    """
    if not given.demo:
        return given.config
    for flag, value in (("--config", given.config), ("--data-dir", given.data_dir), ("--source", given.source)):
        if value is not None:
            text = f"--demo brings its own settings and data; leave out --demo or {flag}"
            raise ConfigError(text, field="--demo", code="demo-with-other-data")
    return Path(DEMO)


def _require_data(given: RunOptions, settings: Settings) -> None:
    """Raise an error if a long search would use the synthetic market and the user did not ask for this data.

    The commands in the specification give ``--n-trials`` but no data; such commands run on the synthetic market.

    Raises:
        ConfigError: no flag, variable or file names the data, and ``--n-trials`` is missing.
    """
    if given.n_trials is None and not given.resume and not settings.data.is_named:
        raise ConfigError(
            "run needs data: --data-dir DIR (your SYMBOL.csv or SYMBOL.parquet files), --use-real-data (daily bars in the"
            " package), or --demo (a few minutes on these bars)",
            field="data.source",
            code="no-data",
        )


def _symbols_need_real_bars(given: DataOptions, settings: Settings) -> None:
    if given.symbols and settings.data.source == "synthetic" and given.source is None:
        raise ConfigError(
            "--symbols needs a source of real bars: --use-real-data (daily bars in the package), --source yahoo, or --data-dir"
            " DIR (your SYMBOL.csv or SYMBOL.parquet files)",
            field="--symbols",
            code="symbols-without-source",
        )


def _run(settings: Settings, given: RunOptions, *, resume: bool) -> None:
    if given.refit and not settings.retrain.enabled:
        text = "--refit needs tested models, but this study does not retrain; add --retrain-best"
        raise ConfigError(text, field="retrain.refit", code="refit-without-retraining")
    for name in THREAD_VARIABLES:
        os.environ.setdefault(name, "1")  # before torch is imported; one single-threaded process per core is fastest
    import logging

    if given.debug:
        logging.getLogger("cnn_lstm_hyperopt").setLevel(logging.DEBUG)
    try:
        with outliving_the_terminal():
            from cnn_lstm_hyperopt.pipeline import run
            from cnn_lstm_hyperopt.pipeline.events import to_all
            from cnn_lstm_hyperopt.reporting.console.terminal import Terminal
            from cnn_lstm_hyperopt.reporting.subscribers import reporters
            from cnn_lstm_hyperopt.tracking.subscriber import TrackerExport

            terminal = Terminal(quiet=given.quiet, verbose=given.verbose)
            events = to_all([*reporters(terminal), TrackerExport(terminal.say, terminal.warn)])
            start = run.dry_run if given.dry_run else run.run
            start(settings, events, resume=resume, recalibrate=given.recalibrate)
    except KeyboardInterrupt as error:
        if settings.study.storage is None and not (settings.save_dir / STUDY_FILE).is_file():
            raise
        when = "finished trials are saved" if (settings.save_dir / RESULTS_FILE).is_file() else "before the first trial"
        text = f"interrupted, {when}; resume with: {resume_command(settings.save_dir)}"
        raise InterruptedRunError(text, code="interrupted") from error
