"""Preparation of a study before its first trial: windows, plan, costs of trials and skill threshold."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch

from cnn_lstm_hyperopt.config import Settings
from cnn_lstm_hyperopt.data.dataset import Dataset
from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.evaluation import Power
from cnn_lstm_hyperopt.evaluation.input_selection import TRAININGS
from cnn_lstm_hyperopt.execution import (
    PASSES,
    SUBSET,
    Gpu,
    as_stored,
    gpus_of,
    memory_limit,
    places,
    resolve_workers,
    study_plan,
)
from cnn_lstm_hyperopt.pipeline.fingerprint import (
    decoupled_adam,
    fingerprint,
    require_same,
    with_new_patience,
    with_new_time_objective,
    with_stored_patience,
    with_stored_space,
    with_stored_time_objective,
    without_effect,
)
from cnn_lstm_hyperopt.pipeline.first_trials import first_trials
from cnn_lstm_hyperopt.pipeline.own_baselines import check_own_baselines
from cnn_lstm_hyperopt.pipeline.own_families import check_own_families
from cnn_lstm_hyperopt.pipeline.power_estimate import estimate_power
from cnn_lstm_hyperopt.pipeline.validation_skill import skill_threshold
from cnn_lstm_hyperopt.search import (
    CONFIRMED_PER_MODEL,
    SkillThreshold,
    StudyPlan,
    StudyStorage,
    TrialRecord,
    count_confirmations,
)
from cnn_lstm_hyperopt.search.cost_forecast import (
    FinalForecast,
    Forecast,
    Priced,
    SampledSpace,
    affordable_passes,
    choose_train_share,
    expected_epoch_share,
    final_forecast,
    forecast,
    measured_cost_share,
    small_data_seconds,
)
from cnn_lstm_hyperopt.space.domains import largest
from cnn_lstm_hyperopt.training.cost_model import CostModel
from cnn_lstm_hyperopt.training.machine_benchmark import calibration_for
from cnn_lstm_hyperopt.training.runtime.device import resolve_device
from cnn_lstm_hyperopt.training.trial_costs import passes_per_epoch
from cnn_lstm_hyperopt.training.trial_trainer import TrialRunner


@dataclass(frozen=True)
class Setup:
    """Inputs of a search that are known before its first trial.

    Attributes:
        settings: resolved settings of the run.
        dataset: data of the study. The share of training windows for trials is already set.
        skill: skill threshold, the score above which a trial beats chance.
        runner: object that trains configurations on the dataset.
        plan: plan of the study.
        sampled: random configurations of the search space, each with its cost.
        workers: number of processes that run trials.
        gpus: GPU of each worker of this machine; empty without GPUs.
        made_with: fingerprint of the study: settings and hash of the data that must be the same when the study is resumed.
        first_trials: one line of text about the initial trials; empty if the sampler proposes the initial trials.
        warnings: warnings about initial trials that were left out, and about differences from earlier versions.
        stored_power: power of the test set from the study; None: the study is new, or an earlier version created it.
    """

    settings: Settings
    dataset: Dataset
    skill: SkillThreshold
    runner: TrialRunner
    plan: StudyPlan
    sampled: SampledSpace
    workers: int
    gpus: Sequence[Gpu]
    made_with: dict[str, Any]
    first_trials: str = ""
    warnings: tuple[str, ...] = ()
    stored_power: Power | None = None

    @cached_property
    def power(self) -> Power:
        """Smallest differences between two models that the test set will probably show as significant."""
        return self.stored_power or estimate_power(self.dataset, seed=self.settings.study.seed)

    @cached_property
    def within(self) -> list[Priced]:
        """Sampled configurations whose costs are within the limits, each with its cost."""
        return self.sampled.within(self.plan.limits, self.plan.cost)

    def forecast(self, records: Sequence[TrialRecord]) -> Forecast:
        """Forecast the cost of the trials that are still to run.

        Raises:
            ConfigError: no sampled configuration is within the limits.
        """
        if not self.within:
            raise ConfigError(
                f"no configuration of the search space keeps the limits ({self.plan.limits}): none of"
                f" {len(self.sampled.configurations)} random ones does; raise the limits or constraints.size_mb, lower"
                " training.max_epochs or data.train_share, or use a smaller search space, such as that of --config small",
                field="limits",
                code="limits-leave-nothing",
            )
        finished = [record for record in records if record.finished]
        epochs = [r.attributes.get("epochs", 0.0) / self.plan.max_epochs for r in finished]
        return forecast(
            self.plan,
            self.within,
            validation_seconds=self.runner.costs.validation_seconds,
            n_validation=sum(len(fold.validation) for fold in self.dataset.folds),
            trials=max(0, self.plan.n_trials - len(finished)),
            new=not records,
            workers=self.workers,
            epoch_share=sum(epochs) / len(epochs)
            if epochs
            else expected_epoch_share(self.plan.max_epochs, self.settings.training.patience),
            cost_share=measured_cost_share(self.plan, self.within, finished),
        )

    def final_forecast(self) -> FinalForecast | None:
        """Return an upper bound of the cost of the final phase, or None if no model will be retrained."""
        chosen = self.settings.retrain
        if not chosen.enabled:
            return None
        return final_forecast(
            self.plan,
            self.within,
            validation_seconds=self.runner.costs.validation_seconds,
            evaluation_seconds=self.runner.costs.evaluation_seconds,
            confirmations=count_confirmations(
                CONFIRMED_PER_MODEL * chosen.top_k + len(chosen.also), chosen.confirm_seeds, chosen.top_k
            )
            + TRAININGS * self.settings.features.select,
            retrainings=(chosen.top_k + len(chosen.also)) * chosen.seeds,
            periods=(1.0,) if self.dataset.periods is None else self.dataset.periods.growth,
            refit=chosen.refit * chosen.seeds * (1 + len(self.dataset.validation) / len(self.dataset.train)),
            full_epochs=chosen.full_epochs,
            train_share=self.dataset.train_share,
            seconds_limit=self.settings.limits.retrain_seconds,
        )


def prepare_new(settings: Settings, dataset: Dataset, *, on_benchmark: Callable[[], None], recalibrate: bool) -> Setup:
    """Prepare a new study with the measured speeds of this machine. ``on_benchmark`` is called before the measurement.

    Raises:
        ConfigError: precision, limits, enqueued trials, the study library or one of the user's families of networks are invalid.
        DataError: one of the user's baselines violates a rule.
    """
    settings = with_new_time_objective(with_new_patience(settings, dataset))
    check_own_families(settings, dataset)
    check_own_baselines(settings, dataset)
    device = resolve_device(settings.training.device)
    speeds = calibration_for(device, remeasure=recalibrate, on_start=on_benchmark)
    setup = _prepare(settings, dataset, device, speeds, skill_threshold(settings, dataset.folds))
    first = first_trials(settings, setup.plan, setup.made_with, dataset.target, setup.runner.data)
    plan = replace(setup.plan, starts=first.starts)
    setup = replace(setup, plan=plan, first_trials=first.text, warnings=first.warnings)
    setup.forecast([])
    return setup


def prepare_again(settings: Settings, dataset: Dataset, storage: StudyStorage) -> Setup:
    """Prepare a stored study for a resumed run, with the stored speeds, skill threshold, power and share of training windows.

    Raises:
        SaveDirError: the stored study has another search space, other data or another target.
        ConfigError: the enqueued trials differ from those at the start of the study, or one of the user's families of
            networks is invalid.
        DataError: one of the user's baselines violates a rule.
    """
    settings = with_stored_time_objective(with_stored_patience(with_stored_space(settings, storage), storage), storage)
    device = resolve_device(settings.training.device)
    require_same(storage, settings, dataset, device)
    begun_with, now = storage.attribute("enqueue"), settings.study.enqueue
    if now is not None and str(now) != begun_with:
        raise ConfigError(
            f"study.enqueue (--enqueue) {now}: the study in {settings.save_dir} was started with {begun_with or 'none'} and keeps"
            " its first trials; omit it, or start a study in another --save-dir",
            field="study.enqueue",
            code="enqueue-differs",
        )
    check_own_families(settings, dataset)
    check_own_baselines(settings, dataset)
    speeds = CostModel.from_dict(storage.attribute("speeds"))
    skill = SkillThreshold.from_stored(storage.attribute("skill_gate"), storage.shown)
    setup = _prepare(
        settings,
        dataset,
        device,
        speeds,
        skill,
        float(storage.attribute("train_share")),
        storage.attribute(PASSES) or 1,
        subset=bool(storage.attribute(SUBSET)),
    )
    records = storage.records()
    space = setup.plan.space
    earlier = [*without_effect(records, space), *decoupled_adam(storage, records, space)]
    power = storage.attribute("power")
    return replace(
        setup,
        plan=as_stored(setup.plan, settings, storage),
        warnings=(*setup.warnings, *earlier),
        stored_power=None if power is None else Power.from_stored(power),
    )


def _prepare(
    settings: Settings,
    dataset: Dataset,
    device: torch.device,
    speeds: CostModel,
    skill: SkillThreshold,
    train_share: float | None = None,
    passes: int | None = None,
    *,
    subset: bool = True,
) -> Setup:
    """Prepare a new or a stored study.

    If ``train_share`` is None, the study is new. Then the share comes from the settings or from the time limit of a trial, and
    proposals on small data have a limit of seconds. The number of passes in an epoch comes from the settings, too.
    """
    is_new = train_share is None
    _require_precision(settings.training.precision, speeds)
    gpus = gpus_of(settings, device.type)
    workers = resolve_workers(settings, device.type, gpus)
    placed = (
        places(gpus, workers, settings.gpus_per_trial, settings.limits.trial_mb)
        if gpus and settings.engine == "local"
        else []
    )

    def runner_on(data: Dataset, passes: int) -> TrialRunner:
        return TrialRunner(
            data.for_trials(),
            settings.training,
            seed=settings.study.seed,
            device=device,
            speeds=speeds,
            metric=settings.study.metric,
            memory_mb=memory_limit(settings, device, workers=workers),
            passes=passes,
            subset=subset,
        )

    made_with = fingerprint(settings, dataset, device)
    runner = runner_on(dataset, passes or 1)
    plan = study_plan(settings, skill, runner, device, workers=workers)
    sampled = SampledSpace(plan.space)
    if train_share is None and settings.data.train_share == "auto":
        train_share = choose_train_share(sampled, plan.limits.seconds, runner.costs.cost)
    if train_share is not None and train_share != dataset.train_share:
        dataset = dataset.with_train_share(train_share)
        runner = runner_on(dataset, passes or 1)
        plan = replace(plan, cost=runner.costs.cost)
    if passes is None:
        runner = runner_on(dataset, _passes(settings, dataset, plan, sampled))
        plan = replace(plan, cost=runner.costs.cost)
    if is_new and settings.limits.trial_seconds == "auto":
        seconds = small_data_seconds(sampled, dataset.fold_windows, plan.cost)
        plan = replace(plan, limits=replace(plan.limits, proposal_seconds=seconds))
    return Setup(settings, dataset, skill, runner, plan, sampled, workers, placed, made_with)


def _require_precision(precision: str, speeds: CostModel) -> None:
    if precision not in ("auto", *speeds.speeds):
        raise ConfigError(
            f"training.precision={precision}: this device supports {' and '.join(speeds.speeds)} in hardware; use one of these,"
            " or auto",
            field="training.precision",
            code="precision-not-supported",
        )


def _passes(settings: Settings, dataset: Dataset, plan: StudyPlan, sampled: SampledSpace) -> int:
    """Return the number of passes over the training windows in an epoch of a new study.

    All training windows count, so that a small ``data.train_share`` makes trials cheaper. The costs in ``plan`` are those of one
    pass.
    """
    wanted = passes_per_epoch(
        settings.training.min_epoch_steps,
        min(len(fold.train) for fold in dataset.folds),
        int(largest(plan.space.domains["training.batch_size"])),
    )
    if wanted == 1:
        return 1
    n_windows = dataset.fold_windows if settings.limits.trial_seconds == "auto" else None
    return min(wanted, affordable_passes(sampled, n_windows, plan.limits.seconds, plan.cost))
