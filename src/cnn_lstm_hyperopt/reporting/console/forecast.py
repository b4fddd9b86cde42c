"""Terminal lines about the search space, the budget and the forecast of the cost."""

from cnn_lstm_hyperopt.pipeline.setup import Setup
from cnn_lstm_hyperopt.search.cost_forecast import FinalForecast, Forecast
from cnn_lstm_hyperopt.space.domains import Domain, domain_text
from cnn_lstm_hyperopt.utils.text import counted, seconds_text

REPORT_MB, MLFLOW_MB = 6, 10
"""Disk space in MB of report.html together with the MLflow runs of a short study."""


def forecast_lines(setup: Setup, search: Forecast, final: FinalForecast | None) -> list[str]:
    """Return lines about the search space, the budget, and the forecast of time, memory and disk space."""
    plan, settings, space = setup.plan, setup.settings, setup.plan.space
    differs = f", {len(changed)} of them changed" if (changed := _changed(setup)) else ""
    trials = counted(plan.n_trials, "trial")
    if search.trials < plan.n_trials:
        trials = f"{search.trials:,} of {trials} left"
    seconds = "" if plan.limits.seconds is None else f" and {plan.limits.seconds:g} s"
    limit = "" if settings.study.timeout is None else f", timeout {seconds_text(settings.study.timeout)}"
    workers = counted(search.workers, "worker")
    passes = setup.runner.costs.passes
    each = "" if passes == 1 else f" ({passes} passes over the training windows each)"
    lines = [
        f"Space: {len(space.searched())} parameters{differs}, {search.share_left:.0%} of it within the limits",
        f"Budget: {trials} of at most {plan.max_epochs} epochs{each}{seconds}, {workers} on {setup.runner.device}{limit}",
    ]
    if bounds := ", ".join(f"{name} at most {bound:g}" for name, bound in plan.constraints.items()):
        lines.append(f"Constraints: {bounds}; trials that break them never join the front")
    parts = [f"search {_duration(search)}"] if search.trials else []
    if final is not None:
        whole = seconds_text(final.confirmation_seconds + final.retraining_seconds)
        n_periods = setup.dataset.n_periods
        steps = f"retraining for {n_periods} test periods" if n_periods > 1 else "retraining"
        parts.append(f"confirmation and {steps} at most {whole}")
        if final.refit_seconds:
            parts.append(f"final refit at most {seconds_text(final.refit_seconds)}")
    if parts:
        disk = search.disk_mb + REPORT_MB * settings.report + MLFLOW_MB * settings.mlflow.enabled
        lines += [
            f"Forecast: {', '.join(parts)}",
            f"  at most {search.memory_mb / 1000:.1f} GB of memory, about {max(1, disk):.0f} MB of disk",
        ]
    return lines


def forecast_details(setup: Setup, search: Forecast, final: FinalForecast | None) -> list[str]:
    """Return detailed lines about search space, limits and forecast for the log and the verbose mode."""
    speeds, share = setup.runner.speeds, setup.dataset.train_share
    lines = []
    if changed := _changed(setup):
        lines.append(f"Changed: {', '.join(f'{name} {domain_text(domain)}' for name, domain in changed.items())}")
    low, median, high = map(seconds_text, search.trial_seconds)
    lines += [
        f"Limits: {setup.plan.limits}",
        f"Training of one trial: {low} to {high} (median {median}) on {share:.3g} of the training windows, all epochs",
        f"Speeds: {speeds.device}, measured {speeds.measured[:10]} (--recalibrate measures again); pruning not counted",
    ]
    if final is not None:
        lines.append(
            f"After the search: {counted(final.confirmations, 'training')} for confirmation"
            f" ({seconds_text(final.confirmation_seconds)}), {counted(final.retrainings, 'retraining')}"
            f" ({seconds_text(final.retraining_seconds)}), bounded by limits.retrain_seconds"
        )
    return lines


def _duration(search: Forecast) -> str:
    """Return the expected duration, and the duration of a search that does not prefer cheap configurations."""
    expected, highest = seconds_text(search.seconds), seconds_text(search.max_seconds)
    return f"about {expected}" if expected == highest else f"about {expected} to {highest}"


def _changed(setup: Setup) -> dict[str, Domain]:
    """Return the domains in the settings that differ from the default domains. What only the data fix is not among them."""
    space = setup.settings.search_space
    return {
        name: domain for name, domain in space.domains.items() if domain != space.specs[name].domain(space.architecture)
    }
