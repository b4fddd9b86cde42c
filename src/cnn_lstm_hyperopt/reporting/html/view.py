"""Sentences and tables of the page as text."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from cnn_lstm_hyperopt.config import dump_settings
from cnn_lstm_hyperopt.evaluation import level_text
from cnn_lstm_hyperopt.evaluation.grades import COLOURS, known_grade
from cnn_lstm_hyperopt.evaluation.overfitting import LOW, overfitting_meaning
from cnn_lstm_hyperopt.evaluation.strategy_text import shown_strategies
from cnn_lstm_hyperopt.inference.refit import REFIT_FAILURE, refit_failure_text
from cnn_lstm_hyperopt.metrics.proportions import CONFIDENCE
from cnn_lstm_hyperopt.pipeline.advice import skipped_baselines_text
from cnn_lstm_hyperopt.pipeline.calibration import scaling_text
from cnn_lstm_hyperopt.pipeline.results.input_selection import group_title, selection_lines
from cnn_lstm_hyperopt.reporting.console.pruning import pruning_lines
from cnn_lstm_hyperopt.reporting.console.search_tables import picks_line
from cnn_lstm_hyperopt.reporting.html.charts import MIN_WINDOWS, curve_trials, objectives
from cnn_lstm_hyperopt.reporting.html.confusion import confusion
from cnn_lstm_hyperopt.reporting.html.convergence import MIN_TRIALS, MORE, outlook
from cnn_lstm_hyperopt.reporting.html.leaderboard import leaderboard
from cnn_lstm_hyperopt.reporting.html.study_files import Content
from cnn_lstm_hyperopt.reporting.html.trial_table import TrialTable
from cnn_lstm_hyperopt.reporting.infeasible import infeasible_note
from cnn_lstm_hyperopt.run_dir.paths import CONFIG_FILE, command, resume_command, resume_in_python
from cnn_lstm_hyperopt.search import State, hypervolume_history
from cnn_lstm_hyperopt.search.pruning_stats import pruned_by, pruning_summary
from cnn_lstm_hyperopt.utils.secrets import masked
from cnn_lstm_hyperopt.utils.text import counted, seconds_text

MAX_CONFIGS, MAX_GROUPS = 5, 50
"""Maximum number of configurations in the comparison, and maximum number of rows in a table of symbols or years."""
LOADERS, ARRAYS = "DataLoaders", "arrays"
"""Sources of windows in ``data.json`` that only Python has."""
_IN_PYTHON = (LOADERS, ARRAYS)
STATISTICS = {
    "min": "minimum",
    "25%": "lower quartile",
    "50%": "median",
    "mean": "mean",
    "75%": "upper quartile",
    "max": "maximum",
}


def view(table: TrialTable) -> dict[str, Any]:
    """Return the values of the variables in the template ``page.html.j2``."""
    content = table.content
    return {
        "name": content.name,
        "made": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "verdict": _verdict(content),
        "tiles": _tiles(content),
        "leaderboard": leaderboard(content),
        "skipped_baselines": skipped_baselines_text(content.results.get("skipped_baselines") or ()),
        "refit_failure": _refit_failure(content.results.get(REFIT_FAILURE)),
        "walk_forward": content.results.get("walk_forward") or [],
        "front": content.front,
        "model_of": {entry["trial_number"]: entry["model_rank"] for entry in content.models},
        "tested_line": _tested_line(content),
        "infeasible_line": infeasible_note(content.records),
        "picks_line": picks_line(content.front, content.skill.words),
        "objective": content.skill.words,
        "statistics": _statistics(table),
        "configs": _configs(table),
        "search_lines": [*(f"{line[:1].upper()}{line[1:]}." for line in content.outside), *_search_lines(content)],
        "overfitting": _overfitting(content),
        "pruned_by": dict(sorted(pruned_by(content.records).items(), key=lambda item: -item[1])),
        "curves_line": _curves_line(table),
        "convergence": _convergence(content),
        "importances": _importances(content),
        "inputs": _inputs(content.results.get("feature_selection")),
        "size_line": _size_line(content),
        "data": content.data,
        "skill": content.skill,
        "above_chance": content.above_chance,
        "problems": _problems(content.data),
        "models": content.models,
        "strategies": shown_strategies(content.models),
        "confusions": {
            rank: confusion(frame, content.data.get("class_names") or []) for rank, frame in content.predictions.items()
        },
        "min_windows": MIN_WINDOWS,
        "max_groups": MAX_GROUPS,
        "reproduce": _reproduce(content),
    }


def digits(value: Any, form: str = ".4f") -> str:
    """Return a number as text for the page; None becomes a dash."""
    return "–" if value is None else format(value, form)


def shown(value: Any) -> str:
    """Return the value of a parameter as text for the page."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return digits(value, ".4g") if value is None or isinstance(value, float) else str(value)


FILTERS: dict[str, Callable[..., Any]] = {
    "digits": digits,
    "shown": shown,
    "seconds": seconds_text,
    "scaling": scaling_text,
}
"""Jinja filters that the template of the page uses, by name."""


def _verdict(content: Content) -> dict[str, str]:
    """Return the title, the CSS class and the sentence of the verdict for the page."""
    verdict = content.results.get("verdict")
    done = sum(record.finished for record in content.records)
    if verdict and (content.models or not content.above_chance):  # otherwise the verdict is older than the front
        grade = known_grade(verdict)
        title, kind = ("Verdict", "open") if grade is None else (grade.capitalize(), COLOURS[grade])
        return {"kind": kind, "title": title, "sentence": verdict["sentence"]}
    best = content.front[0].values if content.front else None
    if best is None:
        sentence = f"No trial is complete yet ({counted(done, 'finished trial')})."
    else:
        locked = "" if content.openings else "The test set is locked. "
        sentence = (
            f"{locked}Of {counted(done, 'finished trial')}, trial {content.front[0].number} is best on validation"
            f" ({content.skill.words} {best.score:.4f}). This score is too high, because it selected the trial."
            + ("" if content.above_chance else " It does not beat chance.")
        )
    if content.running:
        sentence += f" The run is active: {done} of {content.n_trials} trials."
    elif done < content.n_trials:
        sentence += f" Resume with: {_resume(content)}"
    return {"kind": "open", "title": "No verdict yet", "sentence": sentence}


def _refit_failure(failure: Mapping[str, Any] | None) -> str | None:
    """Return a sentence about a failed final refit; None without a failure."""
    return refit_failure_text(failure) if failure else None


def _tiles(content: Content) -> list[tuple[str, str]]:
    """Return the labels and values of the key figures at the top of the page."""
    count = {state: sum(record.state is state for record in content.records) for state in State}
    done = count[State.COMPLETE] + count[State.PRUNED]
    seconds = sum(record.seconds for record in content.records)
    tiles = [
        (f"{done:,}" + ("" if done >= content.n_trials else f" of {content.n_trials:,}"), "trials"),
        (f"{count[State.PRUNED]:,}", "pruned early"),
        (seconds_text(seconds), "of training in the search"),
        (f"{len(content.front):,}", "on the Pareto front"),
    ]
    if count[State.FAIL]:
        tiles.append((f"{count[State.FAIL]:,}", "failed"))
    return [*tiles, (f"{content.openings:,} ×", "test set evaluated")]


def _tested_line(content: Content) -> str:
    """Return a sentence that names the trial of the first tested model; an empty text if no model was tested."""
    if not content.models or not content.front:
        return ""
    rank, trial, first = content.models[0]["model_rank"], content.models[0]["trial_number"], content.front[0].number
    if trial == first:
        return f"Trial {trial}, the best trial of the search, is the tested model {rank}."
    failed = {each["trial_number"] for each in content.results.get("retraining_failures") or []}
    why = (
        "it could not be retrained"
        if first in failed
        else f"the confirmation with new seeds ranks trial {trial} higher"
    )
    return f"The tested model {rank} is trial {trial}, not trial {first}, the best trial of the search, because {why}."


def _statistics(table: TrialTable) -> dict[str, dict[str, str]]:
    """Return the quartiles of each objective over the completed trials.

    The result is empty with fewer than two completed trials.
    """
    if len(table.complete) < 2:
        return {}
    words = objectives(table) | {"seconds": "training seconds"}
    found = table.complete[list(words)].describe().loc[list(STATISTICS)].rename(index=STATISTICS, columns=words)
    return {
        str(name): {str(title): f"{value:.4f}" if k == 0 else _three(value) for title, value in found[name].items()}
        for k, name in enumerate(found)
    }


def _three(figure: float) -> str:
    """Return a number as text with three significant digits. All digits before the decimal point are kept."""
    return f"{figure:,.0f}" if figure >= 1000 else f"{figure:.3g}"


def _configs(table: TrialTable) -> dict[str, list[str]]:
    """Return the values of each parameter in the first trials of the Pareto front. The keys are the names of the parameters."""
    params = table.params.loc[table.front.index[:MAX_CONFIGS]]
    return {name: [shown(value) for value in params[name]] for name in params if params[name].notna().any()}


def _search_lines(content: Content) -> list[str]:
    """Return lines about pruning."""
    settings = content.settings
    summary = pruning_summary(
        content.records,
        content.skill,
        max_epochs=settings.training.max_epochs,
        seed=settings.study.seed,
        pruner=settings.pruner.type,
    )
    return [line.strip() for line in pruning_lines(summary)] if content.records else []


def _overfitting(content: Content) -> dict[str, str] | None:
    """Return the text about the probability of backtest overfitting and its colour; None if nothing is known."""
    pbo = (content.results.get("overfitting") or {}).get("pbo") or {}
    if pbo.get("value") is None:
        why = pbo.get("why")
        return None if not why else {"kind": "", "text": f"Probability of backtest overfitting: {why}."}
    units = pbo.get("units") or {"kind": "dates", "number": pbo.get("dates") or 0}  # keys of an earlier version
    text = (
        f"Probability of backtest overfitting: {pbo['value']:.2f} over {pbo['trials']:,} trials and"
        f" {units['number']:,} {units['kind']} of validation. {overfitting_meaning(pbo['value'])}"
    )
    return {"kind": "low" if pbo["value"] < LOW else "high", "text": text}


def _convergence(content: Content) -> str:
    history = hypervolume_history(content.records, content.skill)
    found = outlook(history, sum(record.finished for record in content.records))
    grade = known_grade(content.results["verdict"]) if content.models and content.results.get("verdict") else None
    if found is None:
        few = sum(record.finished for record in content.records) < MIN_TRIALS
        return f"Unknown: {MIN_TRIALS} finished trials are needed." if few else "Unknown: the hypervolume is 0."
    sentence = found.sentence(grade)
    if not found.recommended(grade):
        return sentence
    total = content.n_trials + MORE
    in_python = content.data.get("source") in _IN_PYTHON
    command = _resume(content).replace(".optimize()", f".optimize(n_trials={total})")
    return f"{sentence} To run {MORE} more trials: {command if in_python else f'{command} --n-trials {total}'}"


def _importances(content: Content) -> dict[str, dict[str, float]]:
    """Return the most important parameters of each objective with their importances (shares that sum to at most 1).

    The keys are the titles of the objectives.
    """
    titles = {
        "score": content.skill.words,
        "seconds": "training time",
        "size_mb": "model size",
        "front": "reaching the front",
    }
    found = {title: dict(list(content.importances.get(key, {}).items())[:8]) for key, title in titles.items()}
    return {title: shares for title, shares in found.items() if any(shares.values())}


def _inputs(result: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the sentences and the table of the selection of inputs, the most important group first; None without a selection."""
    if result is None:
        return None
    rows = [{**each, "title": group_title(each)} for each in result["groups"]]
    ends = [end for row in rows for end in (row["low"], row["high"])]
    return {
        "lines": selection_lines(result),
        "rows": sorted(rows, key=lambda row: -row["importance"]),
        "trials": counted(len(result["trials"]), "trial"),
        "level": level_text(CONFIDENCE),
        "best_shadow": result["best_shadow"],
        "axis": (min(0.0, *ends), max(1e-9, *ends)) if ends else (0.0, 1.0),
    }


def _size_line(content: Content) -> str:
    """Return a sentence about the smallest model whose score is close to the best score."""
    front = [(record, record.values) for record in content.front if record.values is not None]
    if not front:
        return ""
    best, values = front[0]
    margin = content.skill.threshold - content.skill.chance
    near = [(record, each) for record, each in front if each.score >= values.score - margin]
    small, low = min(near, key=lambda pair: pair[1].size_mb)
    if small.number == best.number:
        return f"The best trial, {best.number} ({values.size_mb:.3g} MB), is also the smallest of about equal trials."
    return (
        f"Trial {small.number} has {low.size_mb:.3g} MB, {values.size_mb / low.size_mb:.1f} times less than the best trial"
        f" ({best.number}), and its score is {values.score - low.score:.4f} lower: within"
        f" {margin:.4f}, two standard errors."
    )


def _curves_line(table: TrialTable) -> str:
    best, pruned = curve_trials(table)
    if not best:
        return "Shown once trials are on the front."
    trials = "trial" if len(best) == 1 else f"{len(best)} trials"
    of = sum(record.state is State.PRUNED and len(record.curve) > 0 for record in table.content.records)
    shown = of if len(pruned) == of else f"{len(pruned)} of {of}"
    return f"Curves of the best {trials} in the search, and in grey of {shown} pruned trials."


def _problems(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the problems that the checks of the bars found: pairs of symbol and text."""
    return [
        (symbol, f"{problem['severity']}: {problem['text']}")
        for symbol, facts in (data.get("symbols") or {}).items()
        for problem in facts.get("problems") or []
    ]


def _resume(content: Content, *, retrain: bool = False) -> str:
    """Return the command that resumes the study. For a study on DataLoaders or arrays, return the Python call."""
    if content.data.get("source") == ARRAYS:
        return "estimator.fit(X, y) with another n_trials or budget and a new save_dir"
    if content.data.get("source") == LOADERS:
        call = ".retrain_best_models()" if retrain else ".optimize()"
        return resume_in_python(content.save_dir, content.data) + call
    return resume_command(content.save_dir) + (" --retrain-best" if retrain else "")


def _reproduce(content: Content) -> dict[str, Any]:
    environment = content.results.get("environment") or {}
    packages: Mapping[str, str] = environment.get("packages") or {}
    facts: Sequence[tuple[str, Any]] = (
        ("Seed", content.settings.study.seed),
        ("Data, SHA-256", content.data.get("sha256")),
        ("Device", environment.get("device")),
        ("Python", environment.get("python")),
        ("Platform", environment.get("platform")),
        ("Packages", ", ".join(f"{name} {number}" for name, number in packages.items())),
        ("Results written", content.results.get("timestamp")),
    )
    return {
        "command": None
        if content.data.get("source") in _IN_PYTHON
        else command("run", "--config", content.save_dir / CONFIG_FILE, "--save-dir", "again"),
        "retrain": _resume(content, retrain=True),
        "facts": [(name, value) for name, value in facts if value not in (None, "")],
        "config": masked(dump_settings(content.settings)),
        "estimated": content.settings.study.time_objective == "estimated",
    }
