"""A retrained model in MLflow's PyTorch flavour predicts like the saved model."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from cnn_lstm_hyperopt.config import load_settings, parse_space
from cnn_lstm_hyperopt.inference.metadata import ModelDescription
from cnn_lstm_hyperopt.inference.model import SavedModel
from cnn_lstm_hyperopt.models.build import build_network
from cnn_lstm_hyperopt.run_dir.paths import model_folder
from cnn_lstm_hyperopt.search import State, random_configuration
from cnn_lstm_hyperopt.tracking.process import track_once
from cnn_lstm_hyperopt.tracking.trackers.mlflow import Mlflow
from cnn_lstm_hyperopt.training import ValueScale

from .conftest import Planted, exported, of_kind, runs_at, target_of

pytestmark = [pytest.mark.timeout(900), pytest.mark.filterwarnings("ignore")]

SPACE, _ = parse_space(
    {
        "cnn": {"num_filters": 4, "attention": False},
        "lstm": {"hidden_dim": 8, "num_layers": 2, "bidirectional": True, "attention": False},
        "fusion": {"method": "gated", "dim": 8},
    }
)


def plant_model(save_dir: Path) -> SavedModel:
    """A model with a regression head, and its entry in ``results.json``."""
    description = ModelDescription(
        params=random_configuration(SPACE, 0, 0),
        class_names=("calm", "volatile"),
        value_name="ln(range)",
        features=("a", "b", "c"),
        scaler=None,
        value_scale=ValueScale(1.5, 0.25),
        target="y_class",
        lookback=6,
        horizon=1,
        max_gap_days=10.0,
    )
    network = build_network(description.network_config(), seed=1, device=torch.device("cpu"))
    other = SavedModel(build_network(description.network_config(), seed=2, device=torch.device("cpu")), description)
    model = SavedModel(network, description).with_seeds(1, {2: other})
    model.save(model_folder(save_dir, 1))
    entry = {
        "model_rank": 1,
        "trial_number": 0,
        "config_params": {"fusion.dim": 8},
        "training_results": {"best_epoch": 2},
        "test_metrics": {"test_class_acc": 0.61, "test_class_acc_interval": [0.55, 0.67]},
    }
    baselines = [{"name": "majority class", "test_metrics": {"test_class_acc": 0.52}}]
    results = {"retrained_models": [entry], "baselines": baselines}
    (save_dir / "results.json").write_text(json.dumps(results), encoding="utf-8")
    return model


@pytest.mark.slow
def test_a_model_is_logged_once_registered_and_predicts_the_same(
    planted: Planted, capsys: pytest.CaptureFixture[str]
) -> None:
    save_dir = planted([State.COMPLETE], register_as="best model")
    model = plant_model(save_dir)
    target = target_of(save_dir)
    status = exported(save_dir)
    assert (status.models, status.of_models, status.error) == (1, 1, "")
    track_once(load_settings(save_dir / "config.yaml", environment={}), Mlflow)  # in a process of its own
    out = " ".join(capsys.readouterr().out.split())
    assert "1 trial and 1 retrained model" in out
    assert target.uri in out

    import mlflow

    client = mlflow.MlflowClient(tracking_uri=target.uri)
    (run,) = of_kind(runs_at(target.uri), "finalist")
    assert len(client.search_logged_models([run.info.experiment_id])) == 1
    assert run.info.status == "FINISHED"
    assert run.data.tags["finalist_rank"] == "1"
    assert run.data.metrics["test_class_acc"] == 0.61
    assert run.data.metrics["test_class_acc_interval_low"] == 0.55
    assert run.data.metrics["baseline.majority class.test_class_acc"] == 0.52
    (registered,) = client.search_model_versions("name = 'best model'")
    assert registered.run_id == run.info.run_id

    mlflow.set_tracking_uri(target.uri)
    x = torch.randn(5, 6, 3, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        outputs = [network.eval()(x) for network, _ in model.parts()]
    tables = [torch.cat([torch.softmax(o.logits, 1), (o.value * 0.25 + 1.5).unsqueeze(1)], 1).numpy() for o in outputs]
    expected = np.mean(tables, axis=0)
    uri = f"models:/{run.data.tags['model_id']}"
    loaded = mlflow.pytorch.load_model(uri)
    np.testing.assert_allclose(loaded(x).detach().numpy(), expected, rtol=1e-6, atol=1e-7)
    function = mlflow.pyfunc.load_model(uri, model_config={"device": "cpu"})
    np.testing.assert_allclose(function.predict(x.numpy()), expected, rtol=1e-6, atol=1e-7)
