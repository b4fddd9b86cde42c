"""Python interface: the class :class:`CNNLSTMHyperparameterOptimizer`, and a function that performs a complete run."""

import contextlib
import logging
import os
import weakref
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import optuna

from cnn_lstm_hyperopt.api.notebook import Results, report_frame, study_html
from cnn_lstm_hyperopt.config import Settings, load_settings
from cnn_lstm_hyperopt.config.loader import merge, read_settings
from cnn_lstm_hyperopt.config.profiles import config_path
from cnn_lstm_hyperopt.config.yaml_reader import read_yaml
from cnn_lstm_hyperopt.data.dataloaders.arguments import refuse_facts_of_loaders, require_only_what_loaders_need
from cnn_lstm_hyperopt.data.dataloaders.loaders import dataset_from_loaders
from cnn_lstm_hyperopt.data.dataset import Dataset
from cnn_lstm_hyperopt.errors import ConfigError, HyperoptError
from cnn_lstm_hyperopt.execution import StopSignal
from cnn_lstm_hyperopt.pipeline.advice import Interface
from cnn_lstm_hyperopt.pipeline.events import RunEvents, to_all
from cnn_lstm_hyperopt.pipeline.final_phase import run_final_phase
from cnn_lstm_hyperopt.pipeline.final_refit import with_final_refit
from cnn_lstm_hyperopt.pipeline.results.writer import write_results
from cnn_lstm_hyperopt.pipeline.run import dataset_of
from cnn_lstm_hyperopt.pipeline.save_dir_check import check_database
from cnn_lstm_hyperopt.pipeline.search_phase import search_and_write
from cnn_lstm_hyperopt.pipeline.session import Session, open_session
from cnn_lstm_hyperopt.reporting.console.terminal import Terminal
from cnn_lstm_hyperopt.reporting.subscribers import reporters
from cnn_lstm_hyperopt.run_dir.paths import CONFIG_FILE
from cnn_lstm_hyperopt.tracking.subscriber import TrackerExport
from cnn_lstm_hyperopt.utils.text import shown

log = logging.getLogger(__name__)

Config = str | os.PathLike[str] | Mapping[str, Any]
LOADER_DEFAULTS = {"search_space": {"architecture": "full"}}
"""Settings of a new study of DataLoaders that differ from the defaults. ``config.yaml`` has the architecture."""


class CNNLSTMHyperparameterOptimizer:
    """Optimizer of CNN+LSTM models on your DataLoaders, or on the bars that ``config`` names.

    Args:
        data_loaders: (train, validation, test). Each loader yields ``(x, y_class)`` or ``(x, y_class, y_reg)`` with ``x`` of
            shape ``(batch, time, features)``. None: the bars that the data section of ``config`` names.
        input_dim: number of features; must equal the number of features in the loaders.
        dates: three sequences with the dates of the windows of the training, validation and test loader. Each sequence has a
            date for each window, in the order of the loader, or is None. Dates are datetimes, ISO text, or integers that
            increase with time. Windows without dates count as independent.
        groups: groups of the windows (text or integers), in the same form as ``dates``. Windows of one group (such as a
            patient or a machine) count as dependent.
        save_dir: directory for all output.
        study_name: name of the study.
        baselines: your own baselines, each as ``"module:function"``; see the guide "Compare with your own model". None: those of
            ``config``.
        constraints: upper bounds on results of a trial, such as ``{"latency_ms": 5}``; see the settings of this section.
        config: settings as a YAML file, a profile (``"small"``, ``"laptop"``, ``"gpu"``, ``"demo"``), or a nested mapping
            such as ``{"training": {"max_epochs": 5}}``. With DataLoaders, the default of ``search_space.architecture`` is
            ``full``.
        resume: True to continue the study in ``save_dir``.
        quiet: print nothing. ``run.log`` has the full output.
        verbose: print all details, which are otherwise only in ``run.log``.

    Raises:
        InputError: a setting, a loader or the directory is invalid.
    """

    def __init__(
        self,
        data_loaders: Sequence[Iterable[Any]] | None = None,
        input_dim: int | None = None,
        save_dir: str | Path | None = None,
        study_name: str | None = None,
        *,
        dates: Sequence[Any] | None = None,
        groups: Sequence[Any] | None = None,
        baselines: Sequence[str] | None = None,
        constraints: Mapping[str, float] | None = None,
        config: Config | None = None,
        resume: bool = False,
        quiet: bool = False,
        verbose: bool = False,
    ) -> None:
        _require_types(study_name, resume=resume, quiet=quiet, verbose=verbose)
        self._base = read_settings(config, "config")
        self._file = config_path(config, "config") if isinstance(config, (str, os.PathLike)) else None
        self._arguments: dict[str, Any] = {} if save_dir is None else {"save_dir": save_dir}
        if baselines is not None:
            self._arguments["evaluation"] = {"baselines": baselines}
        if constraints is not None:
            self._arguments["constraints"] = constraints
        if data_loaders is None:
            refuse_facts_of_loaders(input_dim=input_dim, dates=dates, groups=groups)
        asked = self._settings({})
        if data_loaders is not None:
            require_only_what_loaders_need(asked.data)
        if resume:  # settings that are not given keep their stored values
            stored = asked.save_dir / CONFIG_FILE
            self._base = merge(read_yaml(stored) if stored.is_file() else {}, self._base)
        elif data_loaders is not None:
            self._base = merge(LOADER_DEFAULTS, self._base)
        if study_name is not None:
            self._arguments["study"] = {"name": study_name}
        if data_loaders is not None:
            self._arguments["data"] = {"source": "loaders"}
        self._interface = Interface.PYTHON if data_loaders is None else Interface.LOADERS
        self._resume = resume
        terminal = Terminal(quiet=quiet, verbose=verbose)
        self._events: RunEvents = to_all(
            [*reporters(terminal, self._interface), TrackerExport(terminal.detail, terminal.warn)]
        )
        self._closing = contextlib.ExitStack()
        # Closes the files when the optimizer is garbage-collected or at exit, in case close() is not called.
        weakref.finalize(self, _close_in_process, self._closing, os.getpid())
        self._session: Session | None = None
        self._retrains_next = False
        self.settings = self._settings({})
        if not (resume or self.settings.data.is_named):
            raise ConfigError(
                "data_loaders or the data section of config must name the data, such as config={'data': {'data_dir': 'bars'}};"
                " config='demo' runs the demonstration",
                field="data.source",
                code="no-data",
            )
        check_database(self.settings, resume=resume)
        of_loaders = None if data_loaders is None else self._dataset(data_loaders, input_dim, dates, groups)
        self.dataset = of_loaders or dataset_of(self.settings, resume=resume)

    def _dataset(
        self,
        loaders: Sequence[Iterable[Any]],
        input_dim: int | None,
        dates: Sequence[Any] | None,
        groups: Sequence[Any] | None,
    ) -> Dataset:
        asked = self.settings.data
        dataset = dataset_from_loaders(
            loaders,
            input_dim,
            dates=dates,
            groups=groups,
            train_share=1.0 if asked.train_share == "auto" else asked.train_share,
            horizon=asked.horizon,
            cv_folds=asked.cv_folds,
            seed=self.settings.study.seed,
        )
        return dataset.with_own_groups() if self.settings.features.select else dataset

    @property
    def study(self) -> optuna.Study:
        """Optuna study, for example for ``study.trials_dataframe()``. Available after :meth:`optimize`."""
        return self._opened().study.storage.study

    def optimize(
        self,
        n_trials: int | None = None,
        pruner_type: str | None = None,
        sampler_type: str | None = None,
        timeout: float | None = None,
    ) -> Results:
        """Run trials until the study has ``n_trials`` finished trials, including trials of earlier calls and runs.

        Args:
            n_trials: total number of COMPLETE and PRUNED trials.
            pruner_type: a value of ``pruner.type``.
            sampler_type: a value of ``sampler.type``.
            timeout: time limit of the search, in seconds.

        Returns:
            ``study_name``, ``n_trials_completed``, ``best_trials``, ``optimization_history``, ``timestamp``.
        """
        given: dict[str, Any] = {"study": {}}
        for section, key, value in (
            ("study", "n_trials", n_trials),
            ("study", "timeout", timeout),
            ("pruner", "type", pruner_type),
            ("sampler", "type", sampler_type),
        ):
            if value is not None:
                given = merge(given, {section: {key: value}})
        session = self._open(self._settings(given))
        stop = StopSignal(session.settings.study.timeout)
        with stop.listening():
            results = search_and_write(session, stop)
            self._finish(session, stop, results, last=not self._retrains_next)
        if stop.interrupted:
            raise KeyboardInterrupt
        keys = ("study_name", "n_trials_completed", "best_trials", "optimization_history", "timestamp")
        return Results({key: results[key] for key in keys}, session.save_dir)

    def retrain_best_models(self, top_k: int | None = None, full_epochs: int | None = None) -> list[dict[str, Any]]:
        """Confirm the best trials, retrain the best ``top_k`` on all training windows, and test the retrained models once.

        Returns:
            One entry per model: ``model_rank``, ``config_params``, ``training_results``, ``test_metrics``, ``training_time``,
            ``model_path``. If no trial is complete, the list is empty and a warning is printed.
        """
        session = self._opened()
        given = {key: value for key, value in (("top_k", top_k), ("full_epochs", full_epochs)) if value is not None}
        chosen = self._settings({"retrain": {**given, "enabled": True}}).retrain
        session.settings = session.settings.model_copy(update={"retrain": chosen})
        if not session.study.front():
            self._events.on_warning(session.empty_front_text())
            return []
        stop = StopSignal()
        with stop.listening():
            entries = run_final_phase(session, stop)
            self._finish(session, stop, with_final_refit(session, stop, write_results(session)))
        if stop.interrupted:
            raise KeyboardInterrupt
        return entries

    def write_results(self) -> Results:
        """Write ``results.json`` and ``trials.csv`` again. Return the content of ``results.json``."""
        session = self._opened()
        return Results(write_results(session), session.save_dir)

    def show_report(self, height: int = 800) -> Any:
        """Show the report page in the output of a notebook's cell, as :meth:`.Results.show_report`."""
        return report_frame(self.settings.save_dir, height)

    def _repr_html_(self) -> str:
        return study_html(self.settings.study.name, self.settings.save_dir)

    def close(self) -> None:
        """Close ``study.db`` and ``run.log``. The optimizer can be used again afterwards."""
        self._session = None
        self._resume = True
        self._closing.close()

    def __enter__(self) -> "CNNLSTMHyperparameterOptimizer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _settings(self, given: dict[str, Any]) -> Settings:
        """Return the settings. Arguments take precedence over environment variables, which take precedence over the file."""
        return load_settings(self._base, merge(self._arguments, given), file=self._file)

    def _finish(self, session: Session, stop: StopSignal, results: Mapping[str, Any], *, last: bool = True) -> None:
        """Write the report page. If ``last``, also print the verdict and the next Python call."""
        if stop.interrupted:
            return
        if session.settings.report:
            self._events.on_report_due(session.save_dir)
        if last:
            self._events.on_run_end(session.save_dir, results)
            self._events.on_finished()

    def _open(self, settings: Settings) -> Session:
        """Open a session with the settings. Close the session of an earlier call first."""
        if self._session is not None:
            self.close()
        self._events.on_settings(settings)
        opened = open_session(
            settings, self.dataset, resume=self._resume, events=self._events, interface=self._interface
        )
        self._session = self._closing.enter_context(opened)
        return self._session

    def _opened(self) -> Session:
        if self._session is None:
            if not self._resume:
                raise HyperoptError("call optimize() first: there is no study yet", field="study", code="no-study")
            return self._open(self._settings({}))
        return self._session


def _require_types(study_name: Any, **flags: Any) -> None:
    for name, value in flags.items():
        if not isinstance(value, bool):
            raise ConfigError(f"{name} must be True or False, but got {shown(value)}", field=name, code="not-boolean")
    if isinstance(study_name, (bytes, bytearray)):  # pydantic would convert them to text
        text = f"study.name must be text, but got {shown(study_name)}"
        raise ConfigError(text, field="study.name", code="string-type")


def _close_in_process(opened: contextlib.ExitStack, process: int) -> None:
    """Close the files of an optimizer. Do nothing in a forked process, because another process opened the files."""
    if os.getpid() == process:
        opened.close()


def run_cnn_lstm_hyperparameter_optimization(
    data_loaders: Sequence[Iterable[Any]] | None = None,
    input_dim: int | None = None,
    n_trials: int | None = None,
    save_dir: str | Path | None = None,
    retrain_best: bool = True,
    top_k: int | None = None,
    *,
    study_name: str | None = None,
    dates: Sequence[Any] | None = None,
    groups: Sequence[Any] | None = None,
    baselines: Sequence[str] | None = None,
    constraints: Mapping[str, float] | None = None,
    full_epochs: int | None = None,
    pruner_type: str | None = None,
    sampler_type: str | None = None,
    timeout: float | None = None,
    config: Config | None = None,
    resume: bool = False,
    quiet: bool = False,
    verbose: bool = False,
) -> Results:
    """Search for the best trials, retrain their models, test the models once and write the results.

    Returns the content of ``results.json``.

    The arguments are those of :class:`CNNLSTMHyperparameterOptimizer`, its ``optimize`` and its ``retrain_best_models``.
    This function retrains by default. The command line retrains only with ``--retrain-best``. Both defaults of retraining
    follow the specification.
    """
    _require_types(study_name, retrain_best=retrain_best)
    with CNNLSTMHyperparameterOptimizer(
        data_loaders,
        input_dim,
        save_dir,
        study_name,
        dates=dates,
        groups=groups,
        baselines=baselines,
        constraints=constraints,
        config=config,
        resume=resume,
        quiet=quiet,
        verbose=verbose,
    ) as optimizer:
        optimizer._retrains_next = retrain_best
        optimizer.optimize(n_trials, pruner_type, sampler_type, timeout)
        if retrain_best:
            optimizer.retrain_best_models(top_k, full_epochs)
        return optimizer.write_results()
