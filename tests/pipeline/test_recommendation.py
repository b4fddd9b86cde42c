"""When the ensemble is recommended: where validation can't separate the first two finalists."""

import pytest
from scipy import stats

from builders.finalists import mostly, planted
from cnn_lstm_hyperopt.pipeline.confirmation import Candidate, Confirmation
from cnn_lstm_hyperopt.pipeline.recommendation import finalists_are_separated, seeds_separate


def confirmation(*losses):
    return Confirmation(Candidate(1, 1, {}, 0.5), tuple(0.5 for _ in losses), losses=losses)


@pytest.mark.parametrize(
    ("first", "second", "separated"),
    [
        ((0.60, 0.61, 0.60), (0.70, 0.71, 0.70), True),
        ((0.60, 0.66, 0.63), (0.61, 0.67, 0.64), False),
        ((0.60,), (0.70,), False),  # one seed has no spread
        ((), (), False),
        ((0.6, 0.6), (0.6, 0.6), False),
        ((0.6, 0.6), (0.7, 0.7), True),
    ],
)
def test_the_interval_of_the_difference_of_mean_losses_decides(first, second, separated):
    assert seeds_separate(confirmation(*first), confirmation(*second)) is separated
    if min(map(len, (first, second))) > 2:
        low, high = stats.ttest_ind(first, second, equal_var=False).confidence_interval()
        assert separated is not bool(low <= 0 <= high)


def test_a_separation_needs_clear_differences_for_seeds_and_for_windows(apple):
    dataset = apple()
    labels = dataset.validation.labels.numpy()
    good, bad = mostly(labels, 0.9, seed=0), mostly(labels, 0.5, seed=1)
    near, far = confirmation(0.6, 0.61), confirmation(0.9, 0.91)

    def separated(*finalists):
        models = [planted(rank, model, confirmed=each) for rank, (model, each) in enumerate(finalists, start=1)]
        said = [each.predictions(dataset.validation) for each in models]
        return finalists_are_separated(models, said, dataset, "log_loss")

    assert separated((good, near), (bad, far))
    assert not separated((good, near), (bad, near))  # other seeds may exchange the two
    assert not separated((good, near), (good, far))  # other windows may
    assert separated((good, near))  # only several finalists need a separation
    assert separated((good, None), (bad, None))
