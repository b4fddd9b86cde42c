"""Networks standardise the windows of DataLoaders by their training windows, so that units and offsets do not matter."""

import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler

from builders.finalists import params
from builders.loaders import loader, parts
from builders.trainings import CPU
from cnn_lstm_hyperopt.config import TrainingSettings
from cnn_lstm_hyperopt.data.dataloaders.loaders import dataset_from_loaders
from cnn_lstm_hyperopt.models import network_config
from cnn_lstm_hyperopt.models.build import build_network
from cnn_lstm_hyperopt.models.layers.input_scale import InputScale
from cnn_lstm_hyperopt.progress import CONTINUE
from cnn_lstm_hyperopt.training.input_scales import InputScales
from cnn_lstm_hyperopt.training.machine_benchmark import calibration_for
from cnn_lstm_hyperopt.training.trial_trainer import TrialRunner

SIZES = (40, 20, 20)
AUGMENTED = {"augmentation.switch": True} | {
    f"augmentation.{kind}": 0.1 for kind in ("jitter", "scaling", "time_masking", "mixup")
}


def dataset(factor=1.0, offset=0.0, **options):
    """Windows whose numbers are multiples of 1/64, so that the factor and the offset cause no rounding.

    The numbers change after the windows were put in order, because their order depends on the numbers.
    """
    loaders = [loader(parts(size, seed)) for seed, size in enumerate(SIZES)]
    data = dataset_from_loaders(loaders, None, **options)
    for series in {
        id(each.series): each.series for fold in data.folds for each in (fold.train, fold.validation)
    }.values():
        series.mul_(64).round_().div_(64).mul_(factor).add_(offset)
    return data


def losses(data, **chosen):
    runner = TrialRunner(
        data.for_trials(), TrainingSettings(max_epochs=3), seed=0, device=CPU, speeds=calibration_for(CPU)
    )
    found = []

    def listen(report):
        if report.loss is not None:
            found.append(report.loss)
        return CONTINUE

    runner.run_trial(0, {**params(), "inputs.standardise": True, **chosen}, listen)
    assert len(found) >= 3
    return found


@pytest.mark.parametrize("chosen", [{}, AUGMENTED, {"highway.enabled": True, "highway.init": "linear"}])
@pytest.mark.parametrize(("factor", "offset"), [(2**-43, 0), (2**10, 0), (1, 4096), (2**-3, -7)])
def test_a_training_does_not_depend_on_the_units_of_the_features(factor, offset, chosen):
    """2**-43 is the size of MEG signals in tesla."""
    assert losses(dataset(factor, offset), **chosen) == pytest.approx(losses(dataset(), **chosen), rel=1e-3)


def test_without_the_flag_a_network_gets_the_windows_as_they_are():
    raw = losses(dataset(2**10), **{"inputs.standardise": False})
    assert raw != pytest.approx(losses(dataset(), **{"inputs.standardise": False}), rel=0.01)


def test_the_scale_is_that_of_the_training_windows_of_the_fold():
    data = dataset(3.0, 5.0, cv_folds=3)
    config = network_config({**params(), "inputs.standardise": True}, **shape_of(data))
    scales, found = InputScales(), []
    for fold in (*data.folds, data.folds[0]):
        network = build_network(config, seed=0, device=CPU)
        scales.apply(network, fold)
        rows = fold.train.gather(torch.arange(len(fold.train))).flatten(0, 1).double().numpy()
        expected = StandardScaler().fit(rows)
        np.testing.assert_allclose(network.input_scale.mean.numpy(), expected.mean_, rtol=1e-5)
        np.testing.assert_allclose(network.input_scale.std.numpy(), expected.scale_, rtol=1e-5)
        found.append(tuple(network.input_scale.mean.tolist()))
    assert len(set(found)) == 3
    assert found[0] == found[-1]


def test_constants_and_outliers_are_no_problem():
    data = dataset()
    data.train.series[:, 1] = 70.0
    data.train.series[:, 2] = 0.0
    network = build_network(
        network_config({**params(), "inputs.standardise": True}, **shape_of(data)), seed=0, device=CPU
    )
    InputScales().apply(network, data.folds[0])
    assert network.input_scale.std[1:3].tolist() == [1.0, 1.0]
    scaled = network.input_scale(torch.tensor([[1e30] * data.train.input_dim]))
    assert scaled.tolist() == [[10.0] * data.train.input_dim]


def test_standardised_inputs_give_the_inputs_back():
    scale, x = InputScale(3), 100 * torch.randn(5, 4, 3)
    assert torch.equal(scale(x.clamp(-10, 10)), x.clamp(-10, 10))  # the mean is 0 and the deviation is 1 at first
    scale.set_to(torch.tensor([1.0, -300.0, 0.0]), torch.tensor([50.0, 100.0, 60.0]))
    torch.testing.assert_close(scale.restored(scale(x)), x)
    torch.testing.assert_close(scale(x)[..., 1], (x[..., 1] + 300) / 100)


def test_the_scale_counts_in_the_size_and_is_not_trained():
    data = dataset()
    shape = shape_of(data)
    with_scale, without = (network_config({**params(), "inputs.standardise": flag}, **shape) for flag in (True, False))
    more = with_scale.cost(lookback=data.lookback), without.cost(lookback=data.lookback)
    assert more[0].buffers - more[1].buffers == 2 * data.train.input_dim
    network = build_network(with_scale, seed=0, device=CPU)
    stored = sum(each.numel() for each in network.state_dict().values())
    assert stored == more[0].parameters + more[0].buffers
    assert not any("scale" in name for name, _ in network.named_parameters())


def shape_of(data):
    return {
        "input_dim": data.train.input_dim,
        "n_classes": data.n_classes,
        "has_regression": data.has_regression,
        "lookback": data.lookback,
    }
