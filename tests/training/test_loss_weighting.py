"""Loss weightings against the papers' formulas; selection never uses them."""

import math

import pytest
import torch

from builders.trainings import CPU, SCALE, config, network, windows
from cnn_lstm_hyperopt.config.search_space import PARAMETERS
from cnn_lstm_hyperopt.training import evaluate
from cnn_lstm_hyperopt.training.loss_weighting import LOSS_WEIGHTINGS
from cnn_lstm_hyperopt.training.train_step import Stepper


def losses(cross_entropy=1.25, squared_error=3.5):
    return torch.tensor(cross_entropy, dtype=torch.float64), torch.tensor(squared_error, dtype=torch.float64)


def made(name, classification=0.6, regression=0.4):
    return LOSS_WEIGHTINGS[name](classification=classification, regression=regression, device=CPU)


def stepper_of(data, net=None, **changed):
    settings = config(balancing="uncertainty", **changed)
    return Stepper(net or network(dropout=0.0), data, settings, scale=SCALE, generator=torch.Generator())


def test_the_search_space_has_all_of_them_and_searches_the_classification_weight_where_it_is_used():
    assert tuple(LOSS_WEIGHTINGS) == PARAMETERS["multi_task.balancing"].options
    pairs = {n: [made(n, w, 1 - w).combine(*losses(1.0, 4.0)) for w in (0.3, 0.8)] for n in LOSS_WEIGHTINGS}
    used = tuple(name for name, (one, other) in pairs.items() if one != other)
    assert PARAMETERS["multi_task.classification_weight"].when == {"multi_task.balancing": used}
    learned = {name: len(list(made(name).parameters())) for name in LOSS_WEIGHTINGS}
    assert learned == {"fixed": 0, "dynamic": 0, "uncertainty": 1}


@pytest.mark.parametrize(("w", "v"), [(0.3, 0.7), (0.5, 0.5), (0.8, 0.2)])
def test_fixed_is_the_weighted_sum_in_every_epoch(w, v):
    weighting = made("fixed", w, v)
    for _ in range(4):
        assert float(weighting.combine(*losses())) == pytest.approx(w * 1.25 + v * 3.5)
        weighting.end_epoch(0.5, 5.0)


class TestDynamic:
    """Liu, Johns & Davison 2019, arXiv 1803.10704, section 3.3, with K = 2 and T = 2."""

    def weights_by_the_paper(self, history):
        """λ(t) for t = len(history) + 1: w_k(t−1) = L_k(t−1) / L_k(t−2), w_k = 1 for t = 1, 2; λ_k = K · softmax(w / T)."""
        if len(history) < 2:
            return 1.0, 1.0
        e = [math.exp(now / before / 2) for now, before in zip(history[-1], history[-2], strict=True)]
        return 2 * e[0] / sum(e), 2 * e[1] / sum(e)

    @pytest.mark.parametrize(("w", "v"), [(0.5, 0.5), (0.3, 0.7)])
    def test_each_epoch_has_the_papers_weights_times_the_fixed_ones(self, w, v):
        epochs = [(0.69, 1.1), (0.6, 1.0), (0.5, 1.05), (0.45, 0.4), (0.46, 0.1), (0.2, 0.09)]
        weighting = made("dynamic", w, v)
        for done in range(len(epochs) + 1):
            a, b = self.weights_by_the_paper(epochs[:done])
            assert weighting.factors == pytest.approx((a, b))
            assert float(weighting.combine(*losses())) == pytest.approx(w * a * 1.25 + v * b * 3.5)
            if done < len(epochs):
                weighting.end_epoch(*epochs[done])

    @pytest.mark.parametrize("which", [0, 1])
    def test_a_huge_ratio_does_not_overflow(self, which):
        weighting, small, large, expected = made("dynamic"), [1.0, 1.0], [1.0, 1.0], [0.0, 0.0]
        small[which], large[which], expected[which] = 1e-45, 3e38, 2.0  # float32's smallest and largest
        weighting.end_epoch(*small)
        weighting.end_epoch(*large)
        assert list(weighting.factors) == expected

    def test_a_loss_of_zero_counts_as_constant(self):
        weighting = made("dynamic")
        for _ in range(2):
            weighting.end_epoch(0.5, 0.0)
        assert weighting.factors == pytest.approx((1.0, 1.0))
        weighting.end_epoch(0.25, 0.5)
        e = math.exp(0.25), math.exp(0.5)
        assert weighting.factors == pytest.approx((2 * e[0] / sum(e), 2 * e[1] / sum(e)))

    def test_it_gets_the_mean_losses_of_each_epoch(self, monkeypatch, training):
        means, seen, step = [], [], Stepper.step
        monkeypatch.setattr(LOSS_WEIGHTINGS["dynamic"], "end_epoch", lambda self, *mean: means.append(mean))
        monkeypatch.setattr(Stepper, "step", lambda self, index: seen.append(step(self, index)) or seen[-1])
        training(windows(32, 1), windows(16, 2), balancing="dynamic", max_epochs=3)
        for epoch, mean in enumerate(means[:2]):
            assert mean == pytest.approx(torch.stack(seen[4 * epoch : 4 * epoch + 4]).mean(dim=0).tolist())
        assert len(means) >= 2  # the call after the last epoch changes nothing


class TestUncertainty:
    """Kendall, Gal & Cipolla 2018, arXiv 1705.07115: e^(−s₁) L₁ + s₁/2 + e^(−s₂)/2 · L₂ + s₂/2 with s = ln σ²."""

    @pytest.mark.parametrize("s", [(0.0, 0.0), (0.7, -1.3), (-2.0, 3.0)])
    def test_value_and_gradients_equal_the_written_formula(self, s):
        weighting = made("uncertainty")
        weighting.log_variances.data = torch.tensor(s, dtype=torch.float64)
        own, other = ([loss.requires_grad_() for loss in losses()] for _ in range(2))
        total = weighting.combine(*own)
        total.backward()
        # The paper's form: L₁ / σ₁² + L₂ / (2 σ₂²) + ln σ₁ + ln σ₂.
        sigma = torch.tensor([math.exp(each / 2) for each in s], dtype=torch.float64, requires_grad=True)
        written = other[0] / sigma[0] ** 2 + other[1] / (2 * sigma[1] ** 2) + sigma.log().sum()
        written.backward()
        assert total.item() == pytest.approx(written.item())
        for mine, theirs in zip(own, other, strict=True):
            assert float(mine.grad) == pytest.approx(float(theirs.grad))
        # ∂/∂s = ∂/∂σ · ∂σ/∂s with σ = e^(s/2), so ∂σ/∂s = σ / 2.
        assert weighting.log_variances.grad.tolist() == pytest.approx((sigma.grad * sigma.detach() / 2).tolist())

    def test_the_gradients_vanish_at_the_optimum_in_closed_form(self):
        """∂/∂s₁ = −e^(−s₁) L₁ + 1/2 = 0 at s₁ = ln 2L₁; ∂/∂s₂ = −e^(−s₂) L₂ / 2 + 1/2 = 0 at s₂ = ln L₂."""
        weighting = made("uncertainty")
        weighting.log_variances.data = torch.tensor([math.log(2 * 1.25), math.log(3.5)], dtype=torch.float64)
        weighting.combine(*losses()).backward()
        assert weighting.log_variances.grad.tolist() == pytest.approx([0.0, 0.0], abs=1e-12)

    def test_its_log_variances_are_neither_penalised_nor_decayed_nor_clipped(self):
        """One step of SGD from s = 0 moves them by −rate · 1.9 · (1/2 − L₁, (1 − L₂) / 2) whatever the penalties."""
        moved = []
        for changed in ({}, {"l1": 0.5, "l2": 0.5, "weight_decay": 0.5, "gradient_clip": 1e-3}):
            stepper = stepper_of(windows(32), learning_rate=0.1, optimizer="sgd", **changed)
            cross_entropy, squared_error = stepper.step(torch.arange(32)).tolist()
            expected = [-0.19 * (0.5 - cross_entropy), -0.19 * (1 - squared_error) / 2]
            moved.append(stepper.loss_weighting.log_variances.tolist())
            assert moved[-1] == pytest.approx(expected, rel=1e-4)
        assert moved[0] == moved[1]

    def test_without_regression_its_log_variances_do_not_move(self):
        stepper = stepper_of(windows(16, values=False), network(has_regression=False))
        cross_entropy, squared_error = stepper.step(torch.arange(16)).tolist()
        assert stepper.loss_weighting.log_variances.tolist() == [0.0, 0.0]
        assert (cross_entropy > 0, squared_error) == (True, 0.0)


@pytest.mark.parametrize("name", sorted(LOSS_WEIGHTINGS))
def test_the_best_epoch_is_that_of_the_lowest_plain_validation_cross_entropy(training, name):
    """Labels without a pattern get worse on validation while the value, which has one, gets better all the time."""
    validation, options = windows(60, 3, noise=True), {"max_epochs": 10, "learning_rate": 0.02, "l2": 1e-3}
    net, outcome, reports = training(windows(60, 1, noise=True), validation, balancing=name, **options)
    plain = {report.epoch: report.loss for report in reports if report.loss is not None}
    assert outcome.best_epoch == min(plain, key=lambda epoch: plain[epoch]) < 10
    assert evaluate(net, validation, SCALE).loss == outcome.best.loss == plain[outcome.best_epoch]
