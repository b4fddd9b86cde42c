"""Model card: the file ``README.md`` in a model's folder (after Mitchell et al. 2019, "Model Cards for Model Reporting").

The card contains no times and no paths on the machine. So the same model always gets the same card. The history that updates add
to the card has times (``pipeline/updates/publish.py``).
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cnn_lstm_hyperopt.data.frequency import duration
from cnn_lstm_hyperopt.evaluation import level_text
from cnn_lstm_hyperopt.evaluation.dependence import Units
from cnn_lstm_hyperopt.evaluation.grades import graded
from cnn_lstm_hyperopt.evaluation.strategy_text import strategy_lines
from cnn_lstm_hyperopt.inference.ensemble import Member
from cnn_lstm_hyperopt.inference.metadata import ModelDescription
from cnn_lstm_hyperopt.metrics import METRICS
from cnn_lstm_hyperopt.models import family_of
from cnn_lstm_hyperopt.pipeline.calibration import scaling_text
from cnn_lstm_hyperopt.pipeline.ensemble_selection import Blend
from cnn_lstm_hyperopt.pipeline.ensemble_weights import EQUAL, SELECTED, STACKED
from cnn_lstm_hyperopt.pipeline.results.front_matter import front_matter
from cnn_lstm_hyperopt.pipeline.retraining import Retrained
from cnn_lstm_hyperopt.run_dir.paths import ENSEMBLE, model_folder
from cnn_lstm_hyperopt.utils.text import printable

# Characters of inline mark-up (but not _ between letters), and bare addresses, which some sites turn into links.
_MARKS = re.compile(r"([\\`*\[\]<>|~&$@]|(?<!\w)_|_(?!\w)|:(?=//)|(?<=www)\.)", re.IGNORECASE)
_MAX_SYMBOLS = 30
_LIMITS = (
    "The scores ignore trading costs, slippage and position limits. Its output is a probability, not advice.",
    "It was trained and tested on the data above. Other markets, periods and frequencies were not measured.",
    "Markets drift: the figures are from the test period. No later period was measured.",
)


def escaped(text: object, max_length: int = 200) -> str:
    """Return a user's text as one line of Markdown. Characters are escaped so that none acts as mark-up or makes a link."""
    return _MARKS.sub(r"\\\1", printable(str(text), max_length))


def model_cards(
    retrained: Sequence[Retrained],
    blend: Blend | None,
    results: Mapping[str, Any],
    *,
    data: Mapping[str, Any],
    study: str,
) -> dict[str, str]:
    """Return the model cards of the finalists and of their ensemble. The keys are the names of the models' folders.

    Args:
        retrained: the finalists after retraining.
        blend: ensemble of the finalists; None if there is no ensemble.
        results: content of ``results.json``: models, ensemble, baselines and verdict.
        data: content of ``data.json``.
        study: name of the study.
    """
    cards = {}
    for each, entry in zip(retrained, results["retrained_models"], strict=True):
        description = each.kept.model.description
        rank = entry["model_rank"]
        head = [f"# Model {rank} of the study {escaped(study)}", "", *_architecture(description)]
        scores = [_seeds(entry)]
        spread = entry["spread_over_seeds"]
        if spread["standard_deviation"] is not None:
            scores.append(
                f"The test score of a single network is {_number(spread['mean'])} ± {_number(spread['standard_deviation'])}."
            )
        cards[model_folder(Path(), rank).name] = _card(
            [*head, "", *scores],
            description,
            entry,
            results,
            data=data,
            validated=entry["validation"]["score"],
            name=f"model {rank}",
        )
    if blend is not None and results["ensemble"] is not None:
        entry, description = results["ensemble"], blend.ensemble.description
        head = [f"# Ensemble of the study {escaped(study)}", "", *_members(blend)]
        cards[ENSEMBLE] = _card(
            head, description, entry, results, data=data, validated=entry["validation_score"], name=ENSEMBLE
        )
    return cards


def _card(
    head: Sequence[str],
    about: ModelDescription,
    entry: Mapping[str, Any],
    results: Mapping[str, Any],
    *,
    data: Mapping[str, Any],
    validated: float | None,
    name: str,
) -> str:
    lines = [
        *front_matter(about, entry, results["verdict"]["metric"], data=data, name=name),
        "",
        *head,
        "",
        "## Input and output",
        "",
        *_inputs(about),
        "",
        "## Data",
        "",
        *_data(data),
        "",
        "## Figures",
        "",
        *_figures(entry, results, validated=validated, name=name),
        *_walk_forward(results["walk_forward"]),
        "",
        "## Use",
        "",
        *_use(about),
        "",
        "## Limits",
        "",
        *(f"- {limit}" for limit in [*_verdict(results["verdict"], name), *_LIMITS]),
        "",
    ]
    return "\n".join(lines)


def _seeds(entry: Mapping[str, Any]) -> str:
    """Return a sentence about the number and the seeds of the networks of a model."""
    count, seed = len(entry["seeds"]), entry["training_results"]["seed"]
    if count == 1:
        return f"Trained with seed {seed}."
    return (
        f"The model predicts the mean of {count} such networks, trained with {count} seeds. `model.safetensors` has the network"
        f" of seed {seed}, the best on validation; `seeds/` has the others."
    )


def _architecture(about: ModelDescription) -> list[str]:
    return [f"A network of {family_of(about.params).structure}: {_words(about)}."]


def _origin(member: Member) -> str:
    """Return the cells of the table of members that identify a member."""
    if member.baseline is not None:
        return f"{member.baseline} | – | –"
    return f"{member.model_rank} | {member.trial_number} | {member.seed}"


_COMBINED = {
    EQUAL: "The mean of these models' predictions, with equal weights for networks and for baselines.",
    SELECTED: "The weighted mean of these models' predictions, selected greedily on validation (Caruana et al. 2004, ICML).",
    STACKED: "The softmax of the weighted sum of these models' log probabilities, with non-negative weights from a penalised"
    " logistic regression on validation (stacking, Breiman 1996).",
}


def _members(blend: Blend) -> list[str]:
    rows = [
        f"| {_origin(each)} | {each.weight:.3g} | {_words(each.model.description)} |" for each in blend.ensemble.members
    ]
    return [
        f"{_COMBINED[blend.weighting]} The models are in this folder.",
        "",
        "| model | trial | seed | weight | network |",
        "|---|---|---|---|---|",
        *rows,
    ]


def _words(about: ModelDescription) -> str:
    """Return a sentence that describes the architecture of a model's network."""
    network = about.network_config()
    return f"{network.describe()}; {network.cost(lookback=about.lookback).parameters:,} parameters"


def _inputs(about: ModelDescription) -> list[str]:
    names = ", ".join(escaped(name) for name in about.features[:_MAX_SYMBOLS])
    more = len(about.features) - _MAX_SYMBOLS
    classes = ", ".join(f"{number} = {escaped(name)}" for number, name in enumerate(about.class_names))
    lines = [
        f"- Input: windows of {about.lookback} bars × {len(about.features)} features: {names}"
        + (f" and {more} more." if more > 0 else "."),
        f"- Target: {escaped(about.target)}, {about.horizon} bar{'s' if about.horizon > 1 else ''} ahead. Classes: {classes}.",
    ]
    if about.bar_seconds is not None:
        lines.append(f"- Bars: {duration(about.bar_seconds)} apart.")
    if about.value_name is not None:
        lines.append(f"- Value: {escaped(about.value_name)}.")
        if (unit := about.own_unit) is not None:
            mean = np.array([about.value_scale.mean])
            lines.append(
                f"- `{unit.column}`: the value as {unit.words}. The mean value of training, {mean[0]:.3g}, is"
                f" {unit.convert(mean)[0]:.3g} %."
            )
    if about.feature_function is not None:
        lines.append(f"- Your own features: `{about.feature_function}` computes the last ones.")
    return lines


def _data(data: Mapping[str, Any]) -> list[str]:
    lines = [f"- Source: {escaped(data['source'])}."]
    symbols = list(data.get("symbols", ()))
    if symbols:
        more = len(symbols) - _MAX_SYMBOLS
        named = ", ".join(escaped(name) for name in symbols[:_MAX_SYMBOLS])
        lines.append(f"- Symbols: {named}" + (f" and {more} more." if more > 0 else "."))
    for name, split in data["splits"].items():
        dates = f", {escaped(split['first'])} to {escaped(split['last'])}" if "first" in split else ""
        lines.append(f"- {name.capitalize()}: {split['windows']:,} windows{dates}.")
    if data.get("survivorship"):
        lines.append(f"- Survivorship: {escaped(data['survivorship'], 400)}.")
    return lines


def _figures(entry: Mapping[str, Any], results: Mapping[str, Any], *, validated: float | None, name: str) -> list[str]:
    """Return lines with the validation score of a model, and with the test scores of the model and the baselines."""
    verdict = results["verdict"]
    metric = METRICS[verdict["metric"]]
    validation = METRICS[verdict["shrinkage"]["metric"]].words
    rows = [(name, entry["test_metrics"]), *((each["name"], each["test_metrics"]) for each in results["baselines"])]
    metrics, units = entry["test_metrics"], verdict["test_units"]
    # the verdict's metric has its own column
    beside = [METRICS[name] for name in ("accuracy", "log_loss") if name != verdict["metric"]]
    return [
        f"Validation: {validation} {_number(validated)}. Early stopping used these windows, so this score is biased upwards.",
        "",
        f"On {Units(units['kind'], verdict['test_windows'], units['number']).text} ({level_text(verdict['level'])} intervals):",
        "",
        f"| | {metric.label} | interval | gain over the best baseline | {' | '.join(each.label for each in beside)} |",
        "|---|---|---|---|" + "---|" * len(beside),
        *(
            f"| {who} | {_number(test[metric.key])} | {_range(test[f'{metric.key}_interval'])} |"
            f" {_range(test['difference_to_best_baseline_interval'])} |"
            + "".join(f" {_number(test[each.key])} |" for each in beside)
            for who, test in rows
        ),
        "",
        f"Expected calibration error on test: {_number(metrics['test_calibration_error'])}; `metrics.json` has the table."
        f" {scaling_text(entry)}",
        *(each for line in (strategy_lines(metrics["strategy"]) if metrics["strategy"] else ()) for each in ("", line)),
    ]


def _walk_forward(periods: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return lines about a walk-forward test. The list is empty if the test set is one period."""
    if not periods:
        return []
    return [
        "",
        f"The test figures are of a walk-forward test with {len(periods)} periods. Before each later period, the model was"
        " trained again with the same configuration and seeds. This folder has the model of the first period (until"
        f" {periods[0]['last']}); its training used no test window.",
    ]


def _use(about: ModelDescription) -> list[str]:
    """Return lines with the commands and the code for using the model in its folder."""
    load = 'load_model(".")'
    function = about.feature_function
    imports = ["from cnn_lstm_hyperopt import load_model"]
    if function is not None:
        module, _, called = function.partition(":")
        imports = [*imports, f"from {module} import {called}"]
        load = f'load_model(".", features={called})'
    if about.scaler is None:
        return [
            "Run in this folder. `windows` is an array (windows, lookback, features), built and scaled as in training:",
            "",
            "```python",
            *imports,
            "",
            f"print({load}.predict(windows))",
            "```",
        ]
    extra = "" if function is None else f" --features {function}"
    return [
        "Run in this folder, with bars in `bars/SYMBOL.csv` (date, open, high, low, close, volume"
        + "".join(f", {escaped(name)}" for name in about.feature_columns)
        + "):",
        "",
        "```bash",
        f"cnn-lstm-hyperopt predict --model . --data-dir bars --last{extra}",
        "cnn-lstm-hyperopt export --model . --format onnx --output model.onnx",
        "```",
        "",
        "```python",
        "import pandas as pd",
        *imports,
        "",
        f"model = {load}",
        'print(model.predict(pd.read_csv("bars/SYMBOL.csv")))',
        "```",
    ]


def _verdict(verdict: Mapping[str, Any], name: str) -> list[str]:
    judged = f"model {verdict['model_rank']}"
    lines = [f"Verdict on {judged}: {graded(verdict, escaped(verdict['sentence'], 2_000))}"]
    if name != judged:
        lines.append(
            f"The verdict is on {judged} alone. The figures of the {name} are exploratory: choosing it by them would fit the test"
            " set."
        )
    return lines


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _range(interval: Sequence[float] | None) -> str:
    return "–" if interval is None else f"{interval[0]:.4f} to {interval[1]:.4f}"
