"""Folds trained side by side: each learns as it would alone, and together they look like one training."""

import math
import statistics
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from cnn_lstm_hyperopt.errors import CheckpointError
from cnn_lstm_hyperopt.progress import CONTINUE, Action, Decision
from cnn_lstm_hyperopt.training import (
    FoldTraining,
    NonFiniteLossError,
    ValueScale,
    evaluate,
    read_checkpoint,
    train,
    train_folds,
    write_checkpoint,
)
from cnn_lstm_hyperopt.training.augmentation import AugmentationConfig
from cnn_lstm_hyperopt.training.runtime.device import seeded_dropout

CPU, SCALE = torch.device("cpu"), ValueScale(5.0, 3.0)
SIZES = (40, 56, 83)
"""Training windows of each fold: 5, 7 and 11 steps of 8."""
PRUNE = Decision(Action.PRUNE, "enough")
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "everything": {
        "optimizer": "rmsprop",
        "scheduler": "plateau",
        "balancing": "dynamic",
        "dropout_schedule": "cosine",
        "weight_decay": 1e-3,
        "label_smoothing": 0.1,
        "l1": 1e-4,
        "augmentation": AugmentationConfig(jitter=0.1, scaling=0.2, time_masking=0.5, mixup=0.4),
        "early_reports": (0.25, 0.5),
    },
}


class Folds:
    """Networks on folds of noise; each keeps the seeds that it would have alone."""

    def __init__(
        self, parts: SimpleNamespace, sizes: tuple[int, ...] = SIZES, *, seed: int = 0, **changed: Any
    ) -> None:
        self.config = parts.config(**{"max_epochs": 4, "learning_rate": 0.03, **changed})
        self.networks = [parts.network(seed=10 * seed + n) for n in range(len(sizes))]
        self.seeds = [100 * seed + n for n in range(len(sizes))]
        self.windows = [parts.windows(size, n, noise=True) for n, size in enumerate(sizes)]
        self.validation = [parts.windows(24 + 8 * n, 50 + n, noise=True) for n in range(len(sizes))]
        self.reports: list[Any] = []

    def made(self) -> list[FoldTraining]:
        folds = []
        for network, seed, windows, validation in zip(
            self.networks, self.seeds, self.windows, self.validation, strict=True
        ):
            with seeded_dropout(seed, CPU):
                generator = torch.Generator().manual_seed(seed)
                folds.append(FoldTraining(network, windows, validation, self.config, scale=SCALE, generator=generator))
        return folds

    def run(self, on_report: Callable[[Any], Decision] = lambda report: CONTINUE, **options: Any) -> Any:
        def listen(report: Any) -> Decision:
            self.reports.append(report)
            return on_report(report)

        return train_folds(self.made(), self.config, on_report=listen, **options)

    def alone(self, place: int, **options: Any) -> list[Any]:
        """Reports of a training of one of them, with the same seeds."""
        reports: list[Any] = []
        with seeded_dropout(self.seeds[place], CPU):
            train(
                self.networks[place],
                self.windows[place],
                self.validation[place],
                self.config,
                scale=SCALE,
                generator=torch.Generator().manual_seed(self.seeds[place]),
                on_report=lambda report: reports.append(report) or CONTINUE,
                **options,
            )
        return reports

    def evaluated(self) -> list[Any]:
        return [report for report in self.reports if report.loss is not None]


@pytest.fixture
def folds(monkeypatch, make_network, make_windows, make_config) -> Callable[..., Folds]:
    """``folds(sizes, seed=…, **config)``; no report depends on how fast this machine is."""
    monkeypatch.setattr("cnn_lstm_hyperopt.training.trainer.LOOK_SECONDS", math.inf)
    parts = SimpleNamespace(network=make_network, windows=make_windows, config=make_config)
    return lambda *arguments, **options: Folds(parts, *arguments, **options)


def keep_at(paths: dict[int, Any], reports: list[Any]) -> Callable[..., None]:
    def on_epoch_end(decision, take):
        path = paths.get(int(reports[-1].epoch))
        if path is not None:
            write_checkpoint(path, take())

    return on_epoch_end


def stop_after(epoch: int) -> Callable[[Any], Decision]:
    return lambda report: PRUNE if report.epoch == epoch else CONTINUE


def counted(network) -> list[bool]:
    """Grows with each forward pass of the network: whether it was one of training."""
    passes: list[bool] = []
    network.register_forward_hook(lambda module, args, output: passes.append(module.training))
    return passes


def leaves(value: Any, name: str = "") -> dict[str, Any]:
    if isinstance(value, dict | list | tuple):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {k: v for key, inner in items for k, v in leaves(inner, f"{name}.{key}").items()}
    return {name: value.numpy() if isinstance(value, torch.Tensor) else value}


# ---------------------------------------------------------------------- each as alone


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_fold_learns_to_the_bit_as_it_would_alone_and_the_curve_is_their_mean(folds, tmp_path, variant):
    together = folds(**VARIANTS[variant])
    together.run(on_epoch_end=keep_at({3: tmp_path / "together"}, together.reports))
    single, curves = folds(**VARIANTS[variant]), []
    for place in range(len(SIZES)):
        kept: dict[int, Any] = {3: tmp_path / str(place)}
        taken = iter(range(1, 5))

        def keep(decision, take, kept=kept, taken=taken):
            path = kept.get(next(taken))
            if path is not None:
                write_checkpoint(path, take())

        curves.append([r for r in single.alone(place, on_epoch_end=keep) if r.loss is not None])
        mine = read_checkpoint(tmp_path / "together").states[f"fold {place + 1}"]
        alone = read_checkpoint(kept[3]).states["fold 1"]
        for part in alone.keys() - {"best"}:  # the best epoch is that of all
            np.testing.assert_equal(leaves(mine[part]), leaves(alone[part]))
    told = together.evaluated()
    assert [r.epoch for r in told][-4:] == [1, 2, 3, 4]
    for report, *apart in zip(told, *curves, strict=True):
        assert report.loss == pytest.approx(statistics.fmean(each.loss for each in apart), rel=1e-12)
        assert report.score == pytest.approx(statistics.fmean(each.score for each in apart), rel=1e-12)
    assert len({each.loss for each in apart}) == len(SIZES)


def test_the_best_epoch_is_that_of_the_lowest_mean_and_every_network_ends_with_its_weights(folds):
    together = folds(max_epochs=8)
    outcome = together.run()
    told = together.evaluated()
    assert outcome.best_epoch == min(told, key=lambda report: report.loss).epoch
    assert 1 < outcome.best_epoch < 8
    again = [
        evaluate(network, windows, SCALE)
        for network, windows in zip(together.networks, together.validation, strict=True)
    ]
    assert outcome.best.loss == statistics.fmean(each.loss for each in again) == min(r.loss for r in told)
    assert outcome.best.score == statistics.fmean(each.accuracy for each in again)
    expected = np.concatenate([each.predictions.probabilities for each in again])
    np.testing.assert_array_equal(outcome.best.predictions.probabilities, expected)
    single = folds(max_epochs=8)
    own = [min((r for r in single.alone(n) if r.loss), key=lambda r: r.loss).epoch for n in range(len(SIZES))]
    assert any(epoch != outcome.best_epoch for epoch in own)  # the common one is no fold's own choice alone


def test_patience_counts_epochs_without_a_lower_mean(folds):
    together = folds(max_epochs=40, min_patience=3)
    outcome = together.run()
    losses = [report.loss for report in together.evaluated()]
    assert outcome.epochs == len(losses) == outcome.best_epoch + 3 < 40
    assert outcome.decision == CONTINUE
    assert [report.last for report in together.evaluated()] == [False] * (len(losses) - 1) + [True]


# ---------------------------------------------------------------------- reports


def test_a_decision_after_an_epoch_ends_all_folds(folds):
    together = folds(max_epochs=9)
    passes = [counted(network) for network in together.networks]
    outcome = together.run(on_report=stop_after(2))
    assert (outcome.epochs, outcome.decision) == (2, PRUNE)
    assert [sum(each) for each in passes] == [2 * 5, 2 * 7, 2 * 11]
    assert [len(each) - sum(each) for each in passes] == [2, 2, 2]  # one batch of validation an epoch


def test_a_decision_within_an_epoch_leaves_the_later_folds_alone(folds, monkeypatch):
    monkeypatch.setattr("cnn_lstm_hyperopt.training.trainer.LOOK_SECONDS", -1.0)  # a report after each step
    together = folds((40, 40, 40))
    passes = [counted(network) for network in together.networks]
    outcome = together.run(on_report=lambda report: PRUNE if report.epoch > 1.5 else CONTINUE)
    assert [sum(each) for each in passes] == [10, 8, 5]
    assert outcome.epochs == pytest.approx(1 + 8 / 15)
    assert outcome.best_epoch == 1
    assert outcome.best.loss == together.evaluated()[0].loss


def test_progress_counts_the_steps_of_all_folds(folds, monkeypatch):
    """With folds of one size that is (epoch − 1) + (fold + share) / folds."""
    monkeypatch.setattr("cnn_lstm_hyperopt.training.trainer.LOOK_SECONDS", -1.0)
    together = folds((40, 40, 40), max_epochs=2)
    together.run()
    expected = [epoch - 1 + (fold + step / 5) / 3 for epoch in (1, 2) for fold in range(3) for step in (1, 2, 3, 4, 5)]
    assert [report.epoch for report in together.reports] == pytest.approx(expected)
    unequal = folds(max_epochs=1)
    unequal.run()
    assert [report.epoch for report in unequal.reports] == pytest.approx([step / 23 for step in range(1, 24)])
    assert [report.epoch for report in unequal.evaluated()] == [1]


def test_early_reports_come_when_every_fold_has_done_its_share(folds):
    together = folds(max_epochs=2, early_reports=(0.5, 0.25))
    passes = [counted(network) for network in together.networks]
    done = []

    def note(report):
        if report.loss is not None:
            done.append([sum(each) for each in passes])
        return CONTINUE

    together.run(on_report=note)
    assert done == [[2, 2, 3], [3, 4, 6], [5, 7, 11], [10, 14, 22]]
    assert [r.epoch for r in together.evaluated()] == pytest.approx([7 / 23, 13 / 23, 1, 2])


def test_global_randomness_is_left_as_it_was(folds):
    before = torch.get_rng_state()
    folds().run()
    assert torch.equal(torch.get_rng_state(), before)


def test_a_listener_that_draws_between_epochs_disturbs_no_fold(folds):
    quiet, noisy = folds(), folds()
    quiet.run()

    def draw(report):
        if report.loss is not None:
            torch.rand(3)
        return CONTINUE

    noisy.run(on_report=draw)
    assert [(r.loss, r.score) for r in noisy.evaluated()] == [(r.loss, r.score) for r in quiet.evaluated()]


def test_seconds_and_their_projection_are_those_of_all_folds(folds, monkeypatch):
    """On a clock of our own: a step takes a quarter of a second, the very first one 32, an evaluation 64; exact in binary."""
    together, clock = folds(max_epochs=2), SimpleNamespace(now=0.0, warm=False)

    def tick(module, args, output):
        if module.training:
            clock.now += 0.25 if clock.warm else 32.0
            clock.warm = True
        else:
            clock.now += 64.0

    for network in together.networks:
        network.register_forward_hook(tick)
    monkeypatch.setattr(
        "cnn_lstm_hyperopt.training.trainer.time",
        SimpleNamespace(perf_counter=lambda: clock.now, process_time=lambda: clock.now),
    )
    outcome = together.run()
    assert [report.seconds for report in together.reports] == [32 + 3 / 4, 32 + 22 / 4, 32 + 45 / 4]
    assert [report.projected_seconds for report in together.reports] == [32 + 45 / 4] * 3
    assert (outcome.seconds, outcome.projected_seconds) == (32 + 45 / 4, 32 + 45 / 4)
    assert outcome.evaluation_seconds == 6 * 64


# ---------------------------------------------------------------------- checkpoints


@pytest.mark.parametrize("variant", VARIANTS)
def test_several_folds_go_on_to_the_bit_from_a_checkpoint(folds, tmp_path, variant):
    whole = folds(**VARIANTS[variant])
    ended = whole.run()
    path, start = tmp_path / "checkpoint.pt", None
    for cut in (1, 2):  # twice, each time with networks and generators that began elsewhere
        part = folds(seed=cut - 1, **VARIANTS[variant])
        part.run(start=start, on_report=stop_after(cut), on_epoch_end=keep_at({cut: path}, part.reports))
        start = read_checkpoint(path)
    again = folds(seed=7, **VARIANTS[variant])
    outcome = again.run(start=start)
    assert [(r.epoch, r.score, r.loss, r.last) for r in again.evaluated()] == [
        (r.epoch, r.score, r.loss, r.last) for r in whole.evaluated()
    ]
    assert (outcome.best_epoch, outcome.best.loss) == (ended.best_epoch, ended.best.loss)
    np.testing.assert_array_equal(outcome.best.predictions.probabilities, ended.best.predictions.probabilities)
    for one, other in zip(whole.networks, again.networks, strict=True):
        np.testing.assert_equal(leaves(dict(one.state_dict())), leaves(dict(other.state_dict())))


@pytest.mark.parametrize(
    ("sizes", "changed", "told"),
    [
        ((40, 56), {}, r"validation windows is \[24, 32, 40\] there and \[24, 32\] here; windows is"),
        ((40, 56, 80), {}, r"windows is \[40, 56, 83\] there and \[40, 56, 80\] here"),
        (SIZES, {"metric": "mcc"}, r"training\.metric is 'accuracy' there and 'mcc' here"),
    ],
)
def test_a_checkpoint_of_other_folds_or_another_metric_is_refused(folds, tmp_path, sizes, changed, told):
    path, probe = tmp_path / "checkpoint.pt", folds()
    probe.run(on_report=stop_after(1), on_epoch_end=keep_at({1: path}, probe.reports))
    with pytest.raises(CheckpointError, match=rf"is of another training: {told}"):
        folds(sizes, **changed).run(start=read_checkpoint(path))


# ---------------------------------------------------------------------- what can go wrong


def test_a_loss_that_is_not_finite_names_the_epoch_and_the_fold(folds):
    together = folds()
    together.validation[1].series[5] = math.nan
    with pytest.raises(NonFiniteLossError, match=r"^the loss became nan in epoch 1 of fold 2$"):
        together.run()


def test_a_score_that_is_not_defined_is_said_with_its_fold(folds):
    together = folds(metric="auc")
    one_class = replace(together.validation[2], labels=torch.ones_like(together.validation[2].labels))
    together.validation[2] = one_class
    told = r"^the auc is nan in epoch 1 of fold 3: it is not defined on these 40 validation windows"
    with pytest.raises(NonFiniteLossError, match=told):
        together.run()


@pytest.mark.parametrize("metric", ["mcc", "auc", "log_loss", "balanced_accuracy"])
def test_what_is_told_is_scored_by_the_metric_and_chosen_by_the_loss(folds, metric):
    scored, plain = folds(metric=metric), folds()
    outcome, other = scored.run(), plain.run()
    again = [
        evaluate(network, windows, SCALE, metric=metric).score
        for network, windows in zip(scored.networks, scored.validation, strict=True)
    ]
    assert outcome.best.score == statistics.fmean(again) == scored.evaluated()[outcome.best_epoch - 1].score
    assert outcome.best_epoch == other.best_epoch
    assert [r.loss for r in scored.evaluated()] == [r.loss for r in plain.evaluated()]
    assert [r.score for r in scored.evaluated()] != [r.score for r in plain.evaluated()]
