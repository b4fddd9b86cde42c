"""Task balancing against the papers' formulas, and that no choice of a model ever sees it."""

import math

import pytest
import torch

from cnn_lstm_hyperopt.config.search_space import PARAMETERS
from cnn_lstm_hyperopt.training import ValueScale, evaluate
from cnn_lstm_hyperopt.training.loss_weighting import (
    BALANCINGS,
    DynamicBalancing,
    FixedBalancing,
    UncertaintyBalancing,
)
from cnn_lstm_hyperopt.training.train_step import Stepper

CPU = torch.device("cpu")
SCALE = ValueScale(5.0, 3.0)


def losses(cross_entropy: float, squared_error: float) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(cross_entropy, dtype=torch.float64), torch.tensor(squared_error, dtype=torch.float64)


def made(kind, classification: float = 0.6, regression: float = 0.4):
    return kind(classification=classification, regression=regression, device=CPU)


def test_every_balancing_of_the_space_is_here():
    assert tuple(BALANCINGS) == PARAMETERS["multi_task.balancing"].options


def test_those_that_use_the_classification_weight_are_those_for_which_it_is_searched():
    used = {
        name
        for name, kind in BALANCINGS.items()
        if made(kind, 0.3, 0.7).combine(*losses(1.0, 4.0)) != made(kind, 0.8, 0.2).combine(*losses(1.0, 4.0))
    }
    condition = {"multi_task.balancing": tuple(name for name in BALANCINGS if name in used)}
    assert PARAMETERS["multi_task.classification_weight"].when == condition


@pytest.mark.parametrize(("w", "v"), [(0.3, 0.7), (0.5, 0.5), (0.8, 0.2)])
def test_fixed_is_the_weighted_sum_for_ever(w, v):
    balancing = made(FixedBalancing, w, v)
    for _ in range(4):
        assert float(balancing.combine(*losses(1.25, 3.5))) == pytest.approx(w * 1.25 + v * 3.5)
        balancing.end_epoch(0.5, 5.0)
    assert list(balancing.parameters()) == []


class TestDynamic:
    """Liu, Johns & Davison 2019, arXiv 1803.10704, section 3.3, with K = 2 and T = 2."""

    def weights_by_the_paper(self, history: list[tuple[float, float]]) -> tuple[float, float]:
        """λ(t) for t = len(history) + 1: w_k(t−1) = L_k(t−1) / L_k(t−2), w_k = 1 for t = 1, 2; λ_k = K · softmax(w / T)."""
        t = len(history) + 1
        if t <= 2:
            return 1.0, 1.0
        rates = [now / before for now, before in zip(history[-1], history[-2], strict=True)]
        e = [math.exp(rate / 2) for rate in rates]
        return 2 * e[0] / sum(e), 2 * e[1] / sum(e)

    @pytest.mark.parametrize(("w", "v"), [(0.5, 0.5), (0.3, 0.7)])
    def test_each_epoch_has_the_papers_weights_times_the_fixed_ones(self, w, v):
        epochs = [(0.69, 1.1), (0.6, 1.0), (0.5, 1.05), (0.45, 0.4), (0.46, 0.1), (0.2, 0.09)]
        balancing, history = made(DynamicBalancing, w, v), []
        for epoch in range(len(epochs) + 1):
            a, b = self.weights_by_the_paper(history)
            assert a + b == pytest.approx(2)
            assert balancing.factors == pytest.approx((a, b))
            assert float(balancing.combine(*losses(1.25, 3.5))) == pytest.approx(w * a * 1.25 + v * b * 3.5)
            if epoch < 2:
                assert balancing.factors == (1.0, 1.0)
            if epoch < len(epochs):
                history.append(epochs[epoch])
                balancing.end_epoch(*epochs[epoch])

    def test_the_task_that_falls_more_slowly_gets_more_weight(self):
        balancing = made(DynamicBalancing)
        balancing.end_epoch(1.0, 1.0)
        balancing.end_epoch(0.9, 0.3)
        assert balancing.factors[0] > 1 > balancing.factors[1]

    @pytest.mark.parametrize("which", [0, 1])
    def test_a_huge_ratio_does_not_overflow(self, which):
        balancing = made(DynamicBalancing)
        small, large = [1.0, 1.0], [1.0, 1.0]
        small[which], large[which] = 1e-45, 3e38  # float32's smallest and largest
        balancing.end_epoch(*small)
        balancing.end_epoch(*large)
        expected = [0.0, 0.0]
        expected[which] = 2.0
        assert list(balancing.factors) == expected

    def test_a_loss_of_zero_counts_as_one_that_stands_still(self):
        balancing = made(DynamicBalancing)
        balancing.end_epoch(0.5, 0.0)
        balancing.end_epoch(0.5, 0.0)
        assert balancing.factors == pytest.approx((1.0, 1.0))
        balancing.end_epoch(0.25, 0.5)
        e = math.exp(0.25), math.exp(0.5)
        assert balancing.factors == pytest.approx((2 * e[0] / sum(e), 2 * e[1] / sum(e)))

    def test_it_learns_nothing_beside_the_network(self):
        assert list(made(DynamicBalancing).parameters()) == []


class TestUncertainty:
    """Kendall, Gal & Cipolla 2018, arXiv 1705.07115: e^(−s₁) L₁ + s₁/2 + e^(−s₂)/2 · L₂ + s₂/2 with s = ln σ²."""

    @pytest.mark.parametrize("s", [(0.0, 0.0), (0.7, -1.3), (-2.0, 3.0)])
    def test_value_and_gradients_equal_the_written_formula(self, s):
        balancing = made(UncertaintyBalancing)
        balancing.log_variances.data = torch.tensor(s, dtype=torch.float64)
        own = [loss.requires_grad_() for loss in losses(1.25, 3.5)]
        total = balancing.combine(*own)
        total.backward()

        sigma = torch.tensor([math.exp(each / 2) for each in s], dtype=torch.float64, requires_grad=True)
        other = [loss.requires_grad_() for loss in losses(1.25, 3.5)]
        # The paper's form: L₁ / σ₁² + L₂ / (2 σ₂²) + ln σ₁ + ln σ₂.
        written = other[0] / sigma[0] ** 2 + other[1] / (2 * sigma[1] ** 2) + sigma.log().sum()
        written.backward()
        assert total.item() == pytest.approx(written.item())
        for mine, theirs in zip(own, other, strict=True):
            assert float(mine.grad) == pytest.approx(float(theirs.grad))
        # ∂/∂s = ∂/∂σ · ∂σ/∂s with σ = e^(s/2), so ∂σ/∂s = σ / 2.
        expected = (sigma.grad * sigma.detach() / 2).tolist()
        assert balancing.log_variances.grad.tolist() == pytest.approx(expected)

    def test_the_gradients_vanish_at_the_optimum_in_closed_form(self):
        """∂/∂s₁ = −e^(−s₁) L₁ + 1/2 = 0 at s₁ = ln 2L₁; ∂/∂s₂ = −e^(−s₂) L₂ / 2 + 1/2 = 0 at s₂ = ln L₂."""
        balancing = made(UncertaintyBalancing)
        balancing.log_variances.data = torch.tensor([math.log(2 * 1.25), math.log(3.5)], dtype=torch.float64)
        balancing.combine(*losses(1.25, 3.5)).backward()
        assert balancing.log_variances.grad.tolist() == pytest.approx([0.0, 0.0], abs=1e-12)

    def test_it_begins_with_variances_of_one_and_does_not_use_the_fixed_weights(self):
        one, other = made(UncertaintyBalancing, 0.3, 0.7), made(UncertaintyBalancing, 0.8, 0.2)
        assert one.log_variances.tolist() == [0.0, 0.0]
        assert one.combine(*losses(1.25, 3.5)).item() == other.combine(*losses(1.25, 3.5)).item() == 1.25 + 3.5 / 2
        assert [p is one.log_variances for p in one.parameters()] == [True]

    def test_its_log_variances_move_towards_their_optimum_in_training(self, make_windows, make_network, make_config):
        windows = make_windows(64)
        config = make_config(balancing="uncertainty", learning_rate=0.02, optimizer="adam")
        stepper = Stepper(make_network(dropout=0.0), windows, config, scale=SCALE, generator=torch.Generator())
        for _ in range(60):
            seen = stepper.step(torch.arange(64))
        s = stepper.balancing.log_variances.detach()
        assert s[0] < -0.1  # both losses sink below what the initial variances stand for
        assert s[1] < -0.1
        assert torch.isfinite(seen).all()

    def test_its_log_variances_are_neither_penalised_nor_decayed_nor_clipped(
        self, make_windows, make_network, make_config
    ):
        """One step of SGD from s = 0 moves them by −rate · 1.9 · (1/2 − L₁, (1 − L₂) / 2) whatever the penalties."""
        windows, moved = make_windows(32), []
        for changed in ({}, {"l1": 0.5, "l2": 0.5, "weight_decay": 0.5, "gradient_clip": 1e-3}):
            config = make_config(balancing="uncertainty", learning_rate=0.1, optimizer="sgd", **changed)
            stepper = Stepper(make_network(dropout=0.0), windows, config, scale=SCALE, generator=torch.Generator())
            cross_entropy, squared_error = stepper.step(torch.arange(32)).tolist()
            expected = [-0.19 * (0.5 - cross_entropy), -0.19 * (1 - squared_error) / 2]
            assert stepper.balancing.log_variances.tolist() == pytest.approx(expected, rel=1e-4)
            moved.append(stepper.balancing.log_variances.tolist())
        assert moved[0] == moved[1]

    def test_without_regression_its_log_variances_rest(self, make_windows, make_network, make_config):
        windows = make_windows(16, values=False)
        net = make_network(has_regression=False)
        stepper = Stepper(net, windows, make_config(balancing="uncertainty"), scale=SCALE, generator=torch.Generator())
        cross_entropy, squared_error = stepper.step(torch.arange(16)).tolist()
        assert stepper.balancing.log_variances.tolist() == [0.0, 0.0]
        assert (cross_entropy > 0, squared_error) == (True, 0.0)


@pytest.mark.parametrize("name", sorted(BALANCINGS))
def test_the_best_epoch_is_that_of_the_lowest_plain_validation_cross_entropy(training, make_windows, name):
    """Labels without a pattern get worse on validation while the value, which has one, gets better all the time."""
    validation = make_windows(60, 3, noise=True)
    net, outcome, reports = training(
        make_windows(60, 1, noise=True), validation, balancing=name, max_epochs=10, learning_rate=0.02, l2=1e-3
    )
    plain = {report.epoch: report.loss for report in reports if report.loss is not None}
    assert outcome.best_epoch == min(plain, key=lambda epoch: plain[epoch])
    assert outcome.best_epoch < 10
    assert evaluate(net, validation, SCALE).loss == outcome.best.loss == plain[outcome.best_epoch]


def test_the_dynamic_rule_hears_the_mean_losses_of_each_epoch(monkeypatch, training, make_windows):
    heard, seen = [], []
    monkeypatch.setattr(DynamicBalancing, "end_epoch", lambda self, *means: heard.append(means))
    step = Stepper.step

    def note(self, index):
        seen.append(step(self, index))
        return seen[-1]

    monkeypatch.setattr(Stepper, "step", note)
    training(make_windows(32, 1), make_windows(16, 2), balancing="dynamic", max_epochs=3)
    means = [torch.stack(seen[4 * epoch : 4 * epoch + 4]).mean(dim=0).tolist() for epoch in range(2)]
    assert len(heard) >= 2  # what is heard after the last epoch changes nothing
    for told, expected in zip(heard[:2], means, strict=True):
        assert list(told) == pytest.approx(expected)
