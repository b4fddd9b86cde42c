"""Basic demonstration: search on your own DataLoaders, retrain the best, predict with the saved model.

    python examples/cnn_lstm_hyperopt_demo.py

The data are made here: 9 features over 24 steps, and a class that shows in the shape of one of them.
It takes half a minute; docs/tutorials/dataloaders.md shows its output.
"""

import tempfile
from pathlib import Path

import torch
from torch.utils.data import DataLoader, TensorDataset

from cnn_lstm_hyperopt import CNNLSTMHyperparameterOptimizer, load_model


def make_loader(windows: int, seed: int, *, shuffle: bool) -> DataLoader[tuple[torch.Tensor, ...]]:
    """Batches ``(x, y_class, y_reg)``: x ``(batch, time, features)``, y_class ``(batch,)``, y_reg ``(batch,)``."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(windows, 24, 9, generator=generator)
    rising = torch.randint(0, 2, (windows,), generator=generator)
    ramp = torch.linspace(-1, 1, 24)
    x[:, :, 0] += torch.where(rising[:, None] == 1, ramp, -ramp)
    slope = x[:, 12:, 0].mean(dim=1) - x[:, :12, 0].mean(dim=1)
    return DataLoader(TensorDataset(x, rising, slope), batch_size=64, shuffle=shuffle)


def main() -> None:
    """Search, retrain, load, predict."""
    train, validation, test = (
        make_loader(600, 0, shuffle=True),
        make_loader(200, 1, shuffle=False),
        make_loader(1000, 2, shuffle=False),
    )
    with tempfile.TemporaryDirectory() as folder:
        optimizer = CNNLSTMHyperparameterOptimizer(
            data_loaders=(train, validation, test),
            input_dim=9,
            save_dir=Path(folder) / "results",
            study_name="demo",
            config={
                "mlflow": {"enabled": False},  # on by default; not worth it for a folder that goes away
                "data": {
                    "cv_folds": 1
                },  # auto is 5 folds with so few validation windows: better ranks, five times the work
                "training": {"max_epochs": 6},
                "pruner": {"n_startup_trials": 4, "n_warmup_steps": 2},
                "search_space": {
                    "cnn": {"num_filters": [16, 32], "attention": False},
                    "lstm": {"hidden_dim": [32, 64], "num_layers": [1, 2]},
                    "fusion": {"dim": [64, 128]},
                    "training": {"learning_rate": [1e-3, 1e-2]},
                },
            },
        )
        found = optimizer.optimize(n_trials=12, pruner_type="median", sampler_type="tpe")
        accuracy, seconds, size_mb = found["best_trials"][0]["values"]
        print(f"Rank 1: accuracy {accuracy:.3f}, {seconds:.1f} s, {size_mb:.2f} MB")

        retrained = optimizer.retrain_best_models(top_k=1, full_epochs=20)
        print("On test:", {name: retrained[0]["test_metrics"][name] for name in ("test_class_acc", "test_reg_mse")})

        model = load_model(retrained[0]["model_path"])
        predictions = model.predict_windows(optimizer.dataset.validation)
        print("First probabilities:", predictions.probabilities[:3].astype(float).round(3).tolist())
        optimizer.close()


if __name__ == "__main__":
    main()
