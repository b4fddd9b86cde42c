"""Front matter of a model card: YAML between two lines ``---``, which the Hugging Face Hub and other catalogues read."""

from collections.abc import Mapping
from typing import Any

from cnn_lstm_hyperopt.config.yaml_reader import dump_yaml
from cnn_lstm_hyperopt.inference.metadata import ModelDescription
from cnn_lstm_hyperopt.metrics import METRICS
from cnn_lstm_hyperopt.utils.text import printable

_SYMBOLS = 10
_METRICS = {
    **{each.hub_name or name: (each.key, each.hub_label or each.label) for name, each in METRICS.items()},
    "mse": ("test_reg_mse", "mean squared error of the value"),
}
"""Key in ``results.json`` and label of each metric. The keys of the mapping are the names of the metrics on the Hub."""


def front_matter(
    about: ModelDescription, entry: Mapping[str, Any], metric: str, *, data: Mapping[str, Any], name: str
) -> list[str]:
    """Return the lines of the front matter, including both ``---`` lines.

    Args:
        about: the model's description.
        entry: entry of the model in ``results.json``.
        metric: metric of the verdict, which is listed first.
        data: content of ``data.json``.
        name: name of the model.
    """
    task = "time-series-forecasting" if about.scaler is not None else "tabular-classification"
    first = METRICS[metric].hub_name or metric
    measured = {
        hub: {"type": hub, "value": round(float(value), 6), "name": f"test {words}"}
        for hub, (key, words) in sorted(_METRICS.items(), key=lambda each: each[0] != first)
        if (value := entry["test_metrics"].get(key)) is not None
    }
    symbols = [printable(str(symbol), 40) for symbol in data.get("symbols", ())]
    shown = ", ".join(symbols[:_SYMBOLS]) + (" …" if len(symbols) > _SYMBOLS else "")
    tree = {
        "license": "other",
        "license_name": "not-chosen",
        "library_name": "cnn-lstm-hyperopt",
        "pipeline_tag": task,
        "tags": ["time-series", "cnn", "lstm", "pytorch", f"target:{printable(about.target, 100)}"],
        "metrics": list(measured),
        "model-index": [
            {
                "name": name,
                "results": [
                    {
                        "task": {"type": task},
                        "dataset": {
                            "type": printable(str(data["source"]), 100),
                            "name": f"test windows of {shown}" if shown else "test windows",
                            "split": "test",
                        },
                        "metrics": list(measured.values()),
                    }
                ],
            }
        ],
    }
    text = dump_yaml(tree, width=1_000)
    lines = text.rstrip("\n").split("\n")
    lines[0] = f"{lines[0]}  # of the weights: yours to choose"
    return ["---", *lines, "---"]
