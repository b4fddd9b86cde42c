"""Search your own network in place of the CNN+LSTM: python examples/own_network.py"""

import numpy as np
from torch import Tensor, nn

from cnn_lstm_hyperopt import CNNLSTMClassifier, NetworkShape, register_family


class Mlp(nn.Module):
    """A perceptron that reads the whole window."""

    def __init__(self, shape: NetworkShape, width: int, dropout: float) -> None:
        super().__init__()
        inputs = shape.lookback * shape.input_dim
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(inputs, width), nn.ReLU(), nn.Dropout(dropout))
        self.classify = nn.Linear(width, shape.n_classes)

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        return self.classify(self.body(x)), None  # logits, and no value: the data have no regression target


mlp = register_family("mlp", {"width": [8, 16, 32], "dropout": (0.0, 0.5)}, Mlp)

if __name__ == "__main__":  # worker processes import this file
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 32, 2))  # windows, time steps, features
    y = np.where(X[:, -8:, 0].sum(axis=1) > 0, "rise", "fall")  # the sign of the last quarter of the first feature
    config = {"data": {"cv_folds": 1}, "training": {"max_epochs": 5}, "retrain": {"seeds": 1, "full_epochs": 10}}
    config["search_space"] = {"family": mlp.reference}
    model = CNNLSTMClassifier(n_trials=4, n_jobs=1, config=config).fit(X[:300], y[:300])
    print(model.leaderboard())
    print(f"accuracy on new windows: {model.score(X[300:], y[300:]):.2f}")
