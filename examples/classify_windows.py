"""Classify windows in an array with the interface of scikit-learn: python examples/classify_windows.py"""

import numpy as np

from cnn_lstm_hyperopt import CNNLSTMClassifier

rng = np.random.default_rng(0)
X = rng.normal(size=(400, 32, 2))  # windows, time steps, features
y = np.where(X[:, -8:, 0].sum(axis=1) > 0, "rise", "fall")  # the sign of the last quarter of the first feature
config = {"data": {"cv_folds": 1}, "training": {"max_epochs": 5}, "retrain": {"seeds": 1, "full_epochs": 10}}
model = CNNLSTMClassifier(n_trials=4, budget="10m", choose="balanced", n_jobs=1, config=config).fit(X[:300], y[:300])
print(model.leaderboard())
print(f"accuracy on new windows: {model.score(X[300:], y[300:]):.2f}")
