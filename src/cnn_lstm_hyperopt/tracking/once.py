"""Mirrors a study now, in this process, and shows how far it is."""

import shlex

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from cnn_lstm_hyperopt.config import Settings
from cnn_lstm_hyperopt.errors import TrackingError
from cnn_lstm_hyperopt.tracking.following import Following
from cnn_lstm_hyperopt.tracking.process import whole_text
from cnn_lstm_hyperopt.tracking.standing import Standing
from cnn_lstm_hyperopt.tracking.target import tracking_target


def track_once(settings: Settings) -> None:
    """Writes what MLflow lacks of the study in ``save_dir`` and says what it has then.

    Raises:
        SaveDirError: there is no study, or it is damaged.
        TrackingError: something could not be written; the text says what, why and how to go on.
    """
    target = tracking_target(settings)
    if target is None:
        return
    standing = Standing()
    console = Console(highlight=False, soft_wrap=True)
    columns = (
        TextColumn("Writing to MLflow"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("trials and models"),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=None)

        def tell(now: Standing) -> None:
            nonlocal standing
            standing = now
            progress.update(task, completed=now.trials + now.models, total=now.of_trials + now.of_models)

        with Following(settings.save_dir, target, tell) as following:
            written = following.look(final=True)
            outside = following.news()
    for line in outside:
        console.print(f"Warning: {line}", markup=False)
    if not written:
        what = standing.lacking(standing.of_trials)
        again = f"cnn-lstm-hyperopt track --save-dir {shlex.quote(str(settings.save_dir))}"
        raise TrackingError(f"{what} in MLflow at {target.shown} yet: {standing.problem}; try again with: {again}")
    console.print(whole_text(standing, target), markup=False)
