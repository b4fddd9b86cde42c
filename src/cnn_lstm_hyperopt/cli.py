"""The command line: ``cnn-lstm-hyperopt run | data | resume | status | narrow``. Heavy imports happen inside the commands."""

import contextlib
import errno
import os
import shlex
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from cyclopts import App, CycloptsError, Parameter, Token

from cnn_lstm_hyperopt.config import Settings, load_settings
from cnn_lstm_hyperopt.config.faults import printable
from cnn_lstm_hyperopt.config.settings import BadBars, MetricName, PrunerName, SamplerName, Target
from cnn_lstm_hyperopt.exceptions import ConfigError, HyperoptError, InterruptedRunError
from cnn_lstm_hyperopt.folder import BACKUP_FILE, RESULTS_FILE, STUDY_FILE, resume_command
from cnn_lstm_hyperopt.masking import masked

T = TypeVar("T")

_SETTING_OF_FLAG = {
    "n_trials": "study.n_trials",
    "timeout": "study.timeout",
    "study_name": "study.name",
    "seed": "study.seed",
    "portfolio": "study.portfolio",
    "enqueue": "study.enqueue",
    "metric": "study.metric",
    "source": "data.source",
    "data_dir": "data.data_dir",
    "symbols": "data.symbols",
    "start": "data.start",
    "end": "data.end",
    "on_bad_bars": "data.on_bad_bars",
    "feature_columns": "data.feature_columns",
    "features": "data.features",
    "target": "data.target",
    "lookback": "data.lookback",
    "horizon": "data.horizon",
    "cv_folds": "data.cv_folds",
    "max_epochs": "training.max_epochs",
    "device": "training.device",
    "sampler": "sampler.type",
    "pruner": "pruner.type",
    "top_k": "retrain.top_k",
    "full_epochs": "retrain.full_epochs",
    "workers": "workers",
    "save_dir": "save_dir",
}
_FLAG_OF_SETTING = {
    **{setting: f"--{flag.replace('_', '-')}" for flag, setting in _SETTING_OF_FLAG.items()},
    "search_space.training.batch_size": "--batch-size",
    "retrain.enabled": "--retrain-best",
}
"""What a fault of a setting that a flag gave is told with."""


def _help(flag: str) -> str:
    """The setting's own description and default, so that neither is written twice."""
    model: Any = Settings
    *sections, name = _SETTING_OF_FLAG[flag].split(".")
    for section in sections:
        model = model.model_fields[section].annotation
    field = model.model_fields[name]
    text = str(field.description)
    default = field.default
    shown = default is not None and default != ()
    text = text if text.startswith("module:") else f"{text[0].upper()}{text[1:]}"
    return f"{text}." + (f" [default: {default}]" if shown else "")


SourceFlag = Literal["synthetic", "embedded", "files", "yahoo"]
_SEARCH, _DATA, _RETRAIN, _RUN = "Search", "Data", "After the search", "Run"


def _whole(kind: object, tokens: Sequence[Token]) -> int:
    """A whole number and nothing else: by itself the parser makes 2 of 1.5."""
    return _number(tokens[0].value, int, "a whole number")


def _seconds(kind: object, tokens: Sequence[Token]) -> float:
    return _number(tokens[0].value, float, "a number of seconds")


def _number(text: str, read: Callable[[str], T], what: str) -> T:
    """Python by itself reads 1_0 and the digits of all scripts, too."""
    try:
        if text.isascii() and "_" not in text:
            return read(text)
    except ValueError:
        pass
    raise ValueError(f"must be {what}, but got {text!r}")


def _workers(kind: object, tokens: Sequence[Token]) -> int | str:
    try:
        return "auto" if tokens[0].value == "auto" else _whole(kind, tokens)
    except ValueError as error:
        raise ValueError(f"{error}; auto is a worker a core") from None


def _path(kind: object, tokens: Sequence[Token]) -> Path:
    """By itself the parser makes the working directory of an empty text."""
    if not tokens[0].value.strip():
        raise ValueError("must be a path, but is empty")
    return Path(tokens[0].value)


@Parameter(name="*")
@dataclass(frozen=True)
class DataOptions:
    """Flags of ``data``, which ``run`` has, too; None means: as in the config file, else the default."""

    use_real_data: Annotated[
        bool,
        Parameter(
            group=_DATA,
            negative="",
            help="Use the real daily bars embedded in the package, unless --source says otherwise.",
        ),
    ] = False
    source: Annotated[SourceFlag | None, Parameter(group=_DATA, help=_help("source"))] = None
    data_dir: Annotated[Path | None, Parameter(converter=_path, group=_DATA, help=_help("data_dir"))] = None
    symbols: Annotated[
        tuple[str, ...] | None,
        Parameter(group=_DATA, consume_multiple=True, negative="", help=_help("symbols")),
    ] = None
    start: Annotated[date | None, Parameter(group=_DATA, help=_help("start"))] = None
    end: Annotated[date | None, Parameter(group=_DATA, help=_help("end"))] = None
    on_bad_bars: Annotated[BadBars | None, Parameter(group=_DATA, help=_help("on_bad_bars"))] = None
    feature_columns: Annotated[
        tuple[str, ...] | None,
        Parameter(group=_DATA, consume_multiple=True, negative="", help=_help("feature_columns")),
    ] = None
    features: Annotated[str | None, Parameter(group=_DATA, help=_help("features"))] = None
    target: Annotated[Target | None, Parameter(group=_DATA, help=_help("target"))] = None
    lookback: Annotated[int | None, Parameter(converter=_whole, group=_DATA, help=_help("lookback"))] = None
    horizon: Annotated[int | None, Parameter(converter=_whole, group=_DATA, help=_help("horizon"))] = None
    cv_folds: Annotated[int | None, Parameter(converter=_whole, group=_DATA, help=_help("cv_folds"))] = None
    config: Annotated[
        Path | None,
        Parameter(converter=_path, group=_RUN, help="YAML file with settings and search space; flags win over it."),
    ] = None
    debug: Annotated[
        bool, Parameter(group=_RUN, negative="", help="Show the traceback of an error, and log every epoch.")
    ] = False

    def overrides(self) -> dict[str, Any]:
        """The flags that were given, as nested settings."""
        tree: dict[str, Any] = {}
        for flag in fields(self):
            value = getattr(self, flag.name)
            if flag.name in _SETTING_OF_FLAG and value is not None:
                _put(tree, _SETTING_OF_FLAG[flag.name], list(value) if isinstance(value, tuple) else value)
        if self.symbols == ():
            raise ConfigError("--symbols needs at least one name, such as --symbols AAPL MSFT; leave it out for all")
        if self.feature_columns == ():
            raise ConfigError("--feature-columns needs at least one name, such as --feature-columns sentiment")
        self._put_source(tree)
        return tree

    def _put_source(self, tree: dict[str, Any]) -> None:
        """One source of bars, however many flags tell of it."""
        if self.use_real_data and self.source == "synthetic":
            raise ConfigError("--use-real-data and --source synthetic contradict each other; leave one out")
        if self.data_dir is not None:
            if self.use_real_data and self.source != "files":
                raise ConfigError("--use-real-data and --data-dir name two sources; leave one out")
            if self.source not in (None, "files"):
                raise ConfigError(f"--source {self.source} and --data-dir name two sources; leave one out")
            _put(tree, "data.source", "files")
            return
        source = self.source or ("embedded" if self.use_real_data else None)
        if source is not None:
            _put(tree, "data.source", source)
            if source != "files":
                _put(tree, "data.data_dir", None)


@Parameter(name="*")
@dataclass(frozen=True)
class RunOptions(DataOptions):
    """Flags of ``run``."""

    n_trials: Annotated[int | None, Parameter(converter=_whole, group=_SEARCH, help=_help("n_trials"))] = None
    timeout: Annotated[float | None, Parameter(converter=_seconds, group=_SEARCH, help=_help("timeout"))] = None
    sampler: Annotated[SamplerName | None, Parameter(group=_SEARCH, help=_help("sampler"))] = None
    pruner: Annotated[PrunerName | None, Parameter(group=_SEARCH, help=_help("pruner"))] = None
    metric: Annotated[MetricName | None, Parameter(group=_SEARCH, help=_help("metric"))] = None
    max_epochs: Annotated[int | None, Parameter(converter=_whole, group=_SEARCH, help=_help("max_epochs"))] = None
    batch_size: Annotated[
        int | None,
        Parameter(converter=_whole, group=_SEARCH, help="Fixed training batch size; it then leaves the search space."),
    ] = None
    seed: Annotated[int | None, Parameter(converter=_whole, group=_SEARCH, help=_help("seed"))] = None
    enqueue: Annotated[Path | None, Parameter(converter=_path, group=_SEARCH, help=_help("enqueue"))] = None
    portfolio: Annotated[bool | None, Parameter(group=_SEARCH, negative="--no-portfolio", help=_help("portfolio"))] = (
        None
    )
    retrain_best: Annotated[
        bool,
        Parameter(
            group=_RETRAIN,
            negative="",
            help="Retrain the best trials on all training windows and test them once.",
        ),
    ] = False
    top_k: Annotated[int | None, Parameter(converter=_whole, group=_RETRAIN, help=_help("top_k"))] = None
    full_epochs: Annotated[int | None, Parameter(converter=_whole, group=_RETRAIN, help=_help("full_epochs"))] = None
    save_dir: Annotated[Path | None, Parameter(converter=_path, group=_RUN, help=_help("save_dir"))] = None
    study_name: Annotated[str | None, Parameter(group=_RUN, help=_help("study_name"))] = None
    device: Annotated[str | None, Parameter(group=_RUN, help=_help("device"))] = None
    workers: Annotated[
        int | Literal["auto"] | None,
        Parameter(
            converter=_workers,
            group=_RUN,
            help="Worker processes, one thread each; auto: one a core as memory goes, one on a GPU. [default: auto]",
        ),
    ] = None
    resume: Annotated[
        bool,
        Parameter(
            group=_RUN,
            negative="",
            help="Go on with the study that --save-dir holds, up to --n-trials in all.",
        ),
    ] = False
    dry_run: Annotated[
        bool,
        Parameter(
            group=_RUN,
            negative="",
            help="Say what the run would take (hours, memory, disk, share of the space within the limits); start nothing.",
        ),
    ] = False
    recalibrate: Annotated[
        bool,
        Parameter(
            group=_RUN,
            negative="",
            help="Measure this machine's speed anew (a dozen seconds), for this study and later ones.",
        ),
    ] = False
    quiet: Annotated[bool, Parameter(group=_RUN, negative="", help="Print nothing but errors; run.log has all.")] = (
        False
    )

    def overrides(self) -> dict[str, Any]:
        """The flags that were given, as nested settings."""
        tree = super().overrides()
        if self.batch_size is not None:
            _put(tree, "search_space.training.batch_size", self.batch_size)
        if self.retrain_best:
            _put(tree, "retrain.enabled", True)
        return tree


app = App(
    name="cnn-lstm-hyperopt",
    help=(
        "Finds CNN+LSTM models for time series: a search over three objectives at once (validation accuracy, training time,"
        " model size) with early pruning, then the best models retrained and tested once.\n\n"
        "Start with: cnn-lstm-hyperopt run --config configs/hyperopt/small.yaml --use-real-data --target volatility"
        " --n-trials 20 --retrain-best (small.yaml is a corner of the search space that fits a CPU)"
    ),
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
    version_flags=["--version"],
)


@app.command
def run(*, options: RunOptions | None = None) -> None:
    """Search, and with --retrain-best retrain and test the best models.

    Examples: run --use-real-data --symbols AAPL IBM MSFT --target volatility --n-trials 100 --retrain-best;
    run --data-dir bars/ --config my.yaml --timeout 3600.
    """
    given = options or RunOptions()
    settings = _settings(given.config, given.overrides())
    _symbols_need_real_bars(given, settings)
    if given.resume:
        _begun_before(given)
        _fits_what_is_there(settings.save_dir, n_trials=given.n_trials, name=given.study_name)
    _run(
        settings,
        resume=given.resume,
        quiet=given.quiet,
        debug=given.debug,
        dry=given.dry_run,
        recalibrate=given.recalibrate,
    )


@app.command
def data(*, options: DataOptions | None = None) -> None:
    """Check the bars and show what a search would be given of them; nothing is started and nothing is written.

    Shows each symbol's range, bars and frequency, all that is wrong with them, what was adjusted, and the windows, classes and
    dates of training, validation and test. Ends with code 2 if they can't be used; docs/data.md has every rule.

    Examples: data --data-dir bars/; data --data-dir bars/ --on-bad-bars drop --feature-columns sentiment --target volatility;
    data --source yahoo --symbols AAPL MSFT --start 2010-01-01.
    """
    given = options or DataOptions()
    settings = _settings(given.config, given.overrides())
    _symbols_need_real_bars(given, settings)
    from cnn_lstm_hyperopt.reporting.data_report import report_data
    from cnn_lstm_hyperopt.reporting.terminal import Terminal

    report_data(settings.data, Terminal())


@app.command
def resume(
    *,
    save_dir: Annotated[Path, Parameter(converter=_path, help="Directory of the study.")] = Path("hyperopt_results"),
    n_trials: Annotated[int | None, Parameter(converter=_whole, help="New total of finished trials.")] = None,
    timeout: Annotated[float | None, Parameter(converter=_seconds, help="Seconds after which the search ends.")] = None,
    retrain_best: Annotated[
        bool, Parameter(negative="", help="Retrain the best trials, also if the run did not ask.")
    ] = False,
    quiet: Annotated[bool, Parameter(negative="", help="Print nothing but errors; run.log has all.")] = False,
    debug: Annotated[bool, Parameter(negative="", help="Show the traceback of an error, and log every epoch.")] = False,
) -> None:
    """Go on with a study that was interrupted or killed, with the settings in its config.yaml."""
    save_dir = _directory(save_dir)
    path = save_dir / "config.yaml"
    if not path.is_file():
        raise ConfigError(f"--save-dir {save_dir} holds no config.yaml, so there is nothing to resume; start with: run")
    overrides: dict[str, Any] = {"save_dir": save_dir, "study": {"timeout": timeout}}
    if n_trials is not None:
        overrides["study"]["n_trials"] = n_trials
    if retrain_best:
        overrides["retrain"] = {"enabled": True}
    settings = _settings(path, overrides)
    _fits_what_is_there(save_dir, n_trials=n_trials)
    # A run that ended before it had made its study is begun again.
    begun = any((save_dir / name).exists() for name in (STUDY_FILE, BACKUP_FILE, RESULTS_FILE))
    _run(settings, resume=begun, quiet=quiet, debug=debug)


@app.command
def status(
    *,
    save_dir: Annotated[Path, Parameter(converter=_path, help="Directory of the study.")] = Path("hyperopt_results"),
    debug: Annotated[bool, Parameter(negative="", help="Show the traceback of an error.")] = False,
) -> None:
    """Say how far a study is and what to run next; also while it runs."""
    save_dir = _directory(save_dir)
    from cnn_lstm_hyperopt.reporting.status import status_lines

    for line in status_lines(save_dir):
        print(line)


@app.command
def narrow(
    *,
    save_dir: Annotated[Path, Parameter(converter=_path, help="Directory of the study.")] = Path("hyperopt_results"),
    output: Annotated[
        Path | None, Parameter(converter=_path, help="File to write. [default: narrowed.yaml in the directory]")
    ] = None,
    debug: Annotated[bool, Parameter(negative="", help="Show the traceback of an error.")] = False,
) -> None:
    """Start broad, then narrow: write a config whose search space is the region of the study's good trials."""
    from cnn_lstm_hyperopt.narrowing import narrow_study

    save_dir = _directory(save_dir)
    path, lines = narrow_study(save_dir, output or save_dir / "narrowed.yaml")
    for line in lines:
        print(line)
    print(f"Written to {path}; next: cnn-lstm-hyperopt run --config {shlex.quote(str(path))}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns the exit code: 0 done, 1 failed, 2 bad input, 130 interrupted with results saved."""
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with _ended_by_signals():
            app(tokens, exit_on_error=False, print_error=False, result_action="return_value")
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the last line of defence: no traceback unless asked for
        if "--debug" in tokens:
            traceback.print_exc()
        return _told(error)
    return 0


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Ctrl-C and SIGTERM end the process with code 130 and a line, until a run listens to them itself.

    Not by an exception: it could be raised anywhere in the seconds of importing, also where Python throws it away.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: object) -> None:
        os.write(2, b"Interrupted.\n")
        os._exit(130)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _told(error: BaseException) -> int:
    """Says in a line what went wrong; returns the exit code."""
    if isinstance(error, HyperoptError):
        return _fail(str(error), error.exit_code)
    text = printable(" ".join(str(error).split()), 500)
    if isinstance(error, CycloptsError):
        return _fail(f"{text.rstrip('.')} (see --help)", 2)
    if isinstance(error, KeyboardInterrupt):
        return _fail("interrupted; nothing was begun that could be gone on with", 130)
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains once more when it ends
        return 1
    if isinstance(error, PermissionError) and error.filename is not None:
        return _fail(f"{error.filename} can't be opened: {error.strerror}; have it allowed, or name another", 2)
    if isinstance(error, OSError) and error.filename is None and error.errno in (errno.ENOSPC, errno.EIO):
        return _fail(f"the output can't be written: {error.strerror}", 1)
    return _fail(f"{type(error).__name__}: {text} (a fault of this program; --debug shows where)", 1)


def _settings(config: Path | None, overrides: dict[str, Any], environment: Mapping[str, str] | None = None) -> Settings:
    """The settings; what is wrong is told with the flag, the variable or the file that says so."""
    try:
        Path.cwd()
    except OSError as error:  # libraries that are imported later end the process then
        raise ConfigError(f"the working directory is gone ({error.strerror}); go to another with cd") from error
    return load_settings(config, overrides, environment, flags=_FLAG_OF_SETTING)


def _directory(save_dir: Path) -> Path:
    """``--save-dir`` by the rules of the setting of that name."""
    return _settings(None, {"save_dir": save_dir}, environment={}).save_dir


def _begun_before(given: RunOptions) -> None:
    """What only a new study can be told."""
    if given.recalibrate:
        raise ConfigError(
            "--recalibrate begins a study with new speeds; a resumed one keeps those that it was begun with"
        )
    if given.portfolio is not None:
        flag = "--portfolio" if given.portfolio else "--no-portfolio"
        raise ConfigError(f"{flag} chooses a new study's first trials; a resumed one keeps its own, so leave it out")


def _fits_what_is_there(save_dir: Path, *, n_trials: int | None, name: str | None = None) -> None:
    """Whether the study can have this total of trials and this name; without a study the run itself says so."""
    if (n_trials is None and name is None) or not (save_dir / STUDY_FILE).is_file():
        return
    from cnn_lstm_hyperopt.search import StudyStorage

    storage = StudyStorage(save_dir / STUDY_FILE)
    try:
        stored, done = storage.study.study_name, sum(record.finished for record in storage.records())
    finally:
        storage.close()
    if n_trials is not None and n_trials < done:
        raise ConfigError(
            f"--n-trials {n_trials} is the new total, but the study in {save_dir} has {done} finished trials already; give"
            f" {done} or more, or leave it out"
        )
    if name is not None and name != stored:
        raise ConfigError(f"--study-name {name}: the study in {save_dir} is named {stored}; leave it out")


def _symbols_need_real_bars(given: DataOptions, settings: Settings) -> None:
    if given.symbols and settings.data.source == "synthetic" and given.source is None:
        raise ConfigError(
            "--symbols needs a source of real bars: --use-real-data (daily bars in the package), --source yahoo, or --data-dir"
            " DIR (your SYMBOL.csv or SYMBOL.parquet files)"
        )


def _run(
    settings: Settings,
    *,
    resume: bool,
    quiet: bool,
    debug: bool,
    dry: bool = False,
    recalibrate: bool = False,
) -> None:
    if "workers" not in settings.model_fields_set:
        settings = settings.model_copy(update={"workers": "auto"})
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")  # before torch is imported: one single-threaded process a core is the fastest
    import logging

    if debug:
        logging.getLogger("cnn_lstm_hyperopt").setLevel(logging.DEBUG)
    from cnn_lstm_hyperopt.experiment import dry_run, run_experiment
    from cnn_lstm_hyperopt.reporting.terminal import Terminal

    try:
        (dry_run if dry else run_experiment)(
            settings, resume=resume, terminal=Terminal(quiet=quiet), recalibrate=recalibrate
        )
    except KeyboardInterrupt as error:
        if not (settings.save_dir / STUDY_FILE).is_file():
            raise
        raise InterruptedRunError(f"interrupted at once; go on with: {resume_command(settings.save_dir)}") from error


def _put(tree: dict[str, Any], path: str, value: Any) -> None:
    *sections, name = path.split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
    tree[name] = value


def _fail(text: str, code: int) -> int:
    legible = "\n".join(printable(line, 4_000) for line in masked(text).split("\n"))
    print(f"Error: {legible}" if code != 130 else legible[0].upper() + legible[1:], file=sys.stderr)
    return code
