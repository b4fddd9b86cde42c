"""Search on your own DataLoaders: python examples/search_data_loaders.py"""

import tempfile

import torch
from torch.utils.data import DataLoader, TensorDataset

from cnn_lstm_hyperopt import run_cnn_lstm_hyperparameter_optimization

x = torch.randn(600, 32, 2, generator=torch.Generator().manual_seed(0))  # windows, time steps, features
y = (x[:, -8:, 0].sum(dim=1) > 0).long()  # the sign of the last quarter of the first feature
parts = ((0, 400), (400, 500), (500, 600))
loaders = [DataLoader(TensorDataset(x[a:b], y[a:b]), batch_size=50) for a, b in parts]  # training, validation, test
config = {"workers": 1, "data": {"cv_folds": 1}, "training": {"max_epochs": 3}, "search_space": {"family": "tcn"}}
config |= {"retrain": {"seeds": 1, "full_epochs": 5, "confirm_seeds": 1}, "mlflow": {"enabled": False}}
with tempfile.TemporaryDirectory() as folder:
    results = run_cnn_lstm_hyperparameter_optimization(loaders, 2, 4, f"{folder}/study", top_k=1, config=config)
print(f"test accuracy: {results['retrained_models'][0]['test_metrics']['test_class_acc']:.2f}")
