"""What is decided before the first trial: on which windows, by which plan, at which cost; and what a study is made with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import torch

from cnn_lstm_hyperopt.config import Settings
from cnn_lstm_hyperopt.data.dataset import Dataset
from cnn_lstm_hyperopt.data.windows import Fold, Windows
from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.evaluation import design_effect
from cnn_lstm_hyperopt.execution import as_begun, memory_limit, resolve_workers, study_plan
from cnn_lstm_hyperopt.pipeline.confirmation import CONFIRMED_FROM_FRONT
from cnn_lstm_hyperopt.pipeline.fingerprint import decoupled_adam, fingerprint, require_same, without_effect
from cnn_lstm_hyperopt.search import SkillThreshold, Start, StudyPlan, StudyStorage, TrialRecord, undefined_in
from cnn_lstm_hyperopt.search.cost_forecast import (
    FinalForecast,
    Forecast,
    Priced,
    SampledSpace,
    choose_train_share,
    expected_epoch_share,
    final_forecast,
    forecast,
)
from cnn_lstm_hyperopt.search.initial_trials.enqueueing import read_enqueued
from cnn_lstm_hyperopt.search.initial_trials.portfolio import portfolio_in
from cnn_lstm_hyperopt.training.cost_model import CostModel
from cnn_lstm_hyperopt.training.machine_benchmark import calibration_for
from cnn_lstm_hyperopt.training.runtime.device import resolve_device
from cnn_lstm_hyperopt.training.trial_trainer import TrialRunner


@dataclass(frozen=True)
class Setup:
    """All that a search needs, without a trial having been run.

    Attributes:
        settings: as resolved.
        dataset: with the share of the training windows that trials use.
        skill: between trials that have learnt something and those that have not.
        runner: that trains on it.
        plan: of the study.
        sampled: random configurations of its space.
        workers: processes that will run trials.
        made_with: settings and hash of the data; a study can only be resumed with the same ones.
        first_trials: what a new study begins with, in a line; empty where that is the sampler's business.
        warnings: what could not be begun with.
    """

    settings: Settings
    dataset: Dataset
    skill: SkillThreshold
    runner: TrialRunner
    plan: StudyPlan
    sampled: SampledSpace
    workers: int
    made_with: dict[str, Any]
    first_trials: str = ""
    warnings: tuple[str, ...] = ()

    @cached_property
    def within(self) -> list[Priced]:
        """The sampled configurations that keep the limits, each with its cost."""
        return self.sampled.within(self.plan.limits, self.plan.cost)

    def forecast(self, records: Sequence[TrialRecord]) -> Forecast:
        """What the trials that are still missing will take.

        Raises:
            ConfigError: the limits leave nothing of the space.
        """
        if not self.within:
            raise ConfigError(
                f"no configuration of the search space keeps the limits ({self.plan.limits}):"
                f" {len(self.sampled.configurations)} random ones were tried on paper; raise them, lower training.max_epochs or"
                f" data.train_share, or use a smaller search space, such as that of --config small"
            )
        finished = [record for record in records if record.finished]
        epochs = [r.attributes.get("epochs", 0.0) / self.plan.max_epochs for r in finished]
        return forecast(
            self.plan,
            self.within,
            evaluation_seconds=self.runner.costs.evaluation_seconds,
            n_validation=sum(len(fold.validation) for fold in self.dataset.folds),
            trials=max(0, self.plan.n_trials - len(finished)),
            new=not records,
            workers=self.workers,
            epoch_share=sum(epochs) / len(epochs)
            if epochs
            else expected_epoch_share(self.plan.max_epochs, self.settings.training.min_patience),
        )

    def final_forecast(self) -> FinalForecast | None:
        """What the work after the search will take at most; None where none was asked for."""
        chosen = self.settings.retrain
        if not chosen.enabled:
            return None
        return final_forecast(
            self.plan,
            self.within,
            evaluation_seconds=self.runner.costs.evaluation_seconds,
            confirmations=CONFIRMED_FROM_FRONT * chosen.top_k * chosen.confirm_seeds,
            retrainings=chosen.top_k * chosen.seeds,
            full_epochs=chosen.full_epochs,
            train_share=self.dataset.train_share,
            seconds_limit=self.settings.limits.retrain_seconds,
        )


def _with_first_trials(setup: Setup) -> Setup:
    """What is enqueued, then the portfolio; each configuration once."""
    study, plan = setup.settings.study, setup.plan
    starts: list[Start] = []
    parts: list[str] = []
    warnings: tuple[str, ...] = ()
    if study.enqueue is not None:
        enqueued = read_enqueued(study.enqueue, plan)
        starts, warnings = list(enqueued.starts), enqueued.warnings
        parts.append(f"{len(starts)} enqueued from {study.enqueue}")
    if study.portfolio:
        portfolio = portfolio_in(plan)
        new = [start for start in portfolio.starts if start.params not in [each.params for each in starts]]
        starts += new
        left_out = {
            **{start.origin: "enqueued already" for start in portfolio.starts if start not in new},
            **{name: f"here the same as {other}" for name, other in portfolio.same.items()},
            **dict.fromkeys(portfolio.beyond_limits, "beyond the limits"),
        }
        names = f" ({', '.join(start.origin for start in new)})" if new else ""
        without = ", ".join(f"{name} ({reason})" for name, reason in left_out.items())
        parts.append(f"{len(new)} of the portfolio{names}" + (f" without {without}" if without else ""))
    line = f"First trials: {', '.join(parts)}" if parts else ""
    return replace(setup, plan=replace(plan, starts=tuple(starts)), first_trials=line, warnings=warnings)


def prepare_new(settings: Settings, dataset: Dataset, *, on_benchmark: Callable[[], None], recalibrate: bool) -> Setup:
    """The setup of a new study, by the speeds of this machine; ``on_benchmark`` is called before these are measured.

    Raises:
        ConfigError: the device does not have the precision, the limits leave nothing of the space, or what is enqueued is wrong.
    """
    device = resolve_device(settings.training.device)
    speeds = calibration_for(
        device,
        anew=recalibrate,
        on_start=on_benchmark,
    )
    setup = _with_first_trials(_prepare(settings, dataset, device, speeds, None))
    setup.forecast([])
    return setup


def prepare_again(settings: Settings, dataset: Dataset, storage: StudyStorage) -> Setup:
    """Of a stored study, by the speeds and on the share of windows that it was begun with.

    Raises:
        SaveDirError: it belongs to another space, data or target; the text says what differs.
        ConfigError: something else is enqueued than what it was begun with.
    """
    device = resolve_device(settings.training.device)
    require_same(storage, settings, dataset, device)
    begun_with, now = storage.attribute("enqueue"), settings.study.enqueue
    if now is not None and str(now) != begun_with:
        raise ConfigError(
            f"study.enqueue (--enqueue) {now}: the study in {settings.save_dir} was begun with {begun_with or 'none'} and keeps"
            " its first trials; leave it out, or begin a study in another --save-dir"
        )
    speeds = CostModel.from_dict(storage.attribute("speeds"))
    setup = _prepare(settings, dataset, device, speeds, float(storage.attribute("train_share")))
    records = storage.records()
    space = setup.plan.space
    earlier = [*without_effect(records, space), *decoupled_adam(storage, records, space)]
    return replace(setup, plan=as_begun(setup.plan, storage), warnings=(*setup.warnings, *earlier))


def _prepare(
    settings: Settings, dataset: Dataset, device: torch.device, speeds: CostModel, train_share: float | None
) -> Setup:
    """``train_share`` None: as the settings say, or as the limit of seconds demands."""
    if settings.training.precision not in ("auto", *speeds.speeds):
        raise ConfigError(
            f"training.precision={settings.training.precision}: this device has {' and '.join(speeds.speeds)} in hardware;"
            " use one of these, or auto"
        )

    workers = resolve_workers(settings, device.type)

    def runner_on(data: Dataset) -> TrialRunner:
        return TrialRunner(
            data.for_trials(),
            settings.training,
            seed=settings.study.seed,
            device=device,
            speeds=speeds,
            metric=settings.study.metric,
            memory_mb=memory_limit(settings, device, workers=workers),
        )

    skill = skill_threshold(settings, dataset.folds)
    made_with = fingerprint(settings, dataset, device)
    runner = runner_on(dataset)
    plan = study_plan(settings, skill, runner, device, workers=workers)
    sampled = SampledSpace(plan.space)
    if train_share is None and settings.data.train_share == "auto":
        train_share = choose_train_share(sampled, plan.limits.seconds, runner.costs.cost)
    if train_share is not None and train_share != dataset.train_share:
        dataset = dataset.with_train_share(train_share)
        runner = runner_on(dataset)
        plan = replace(plan, cost=runner.costs.cost)
    return Setup(settings, dataset, skill, runner, plan, sampled, workers, made_with)


def skill_threshold(settings: Settings, folds: Sequence[Fold]) -> SkillThreshold:
    """The line above which a trial has learnt something, by the validation labels of all folds.

    Raises:
        ConfigError: the metric says nothing on a fold, whose windows are all of one class.
    """
    metric, labels = settings.study.metric, [fold.validation.labels.numpy() for fold in folds]
    if (undefined := undefined_in(metric, labels)) is not None:
        where = f" of fold {undefined + 1} of {len(folds)}" if len(folds) > 1 else ""
        fewer = "lower data.cv_folds, give more bars," if len(folds) > 1 else "give more data"
        raise ConfigError(
            f"study.metric={metric} needs two classes in validation, but all {len(labels[undefined])} validation windows{where}"
            f" are of class {int(labels[undefined][0])}; {fewer} or take study.metric: accuracy"
        )
    validation = [fold.validation for fold in folds]
    return SkillThreshold.on(
        metric, labels, overlap=_overlap(validation, settings.data.horizon), n_windows=_different(validation)
    )


def _overlap(validation: Sequence[Windows], horizon: int) -> float:
    """So many validation windows count as one: by the horizon, over which labels overlap, or by groups of like labels."""
    groups = [each.groups for each in validation if each.groups is not None]
    if len(groups) < len(validation):
        return horizon
    return horizon * design_effect(np.concatenate([each.labels.numpy() for each in validation]), np.concatenate(groups))


def _different(validation: Sequence[Windows]) -> int | None:
    """Number of different windows, since combinatorial folds hold out each several times; None: all are different."""
    if not all(each.dated for each in validation):
        return None
    names = ["symbol", "date"]
    held_out = [pd.DataFrame({"symbol": part.symbols, "date": part.dates}) for part in validation]
    # Windows of DataLoaders share a symbol and may share a date; a fold holds out each once, and all of a date or none.
    return len(pd.concat([each.assign(place=each.groupby(names).cumcount()) for each in held_out]).drop_duplicates())
