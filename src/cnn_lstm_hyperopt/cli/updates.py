"""Commands about versions of a trained model: ``update``, ``evaluate`` and ``rollback``."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from cnn_lstm_hyperopt.cli.application import app
from cnn_lstm_hyperopt.cli.models import Family, Force, OnBadBars, OwnFeatures, loaded, write_output
from cnn_lstm_hyperopt.cli.options import Debug
from cnn_lstm_hyperopt.cli.values import path_of, whole
from cnn_lstm_hyperopt.inference.versions import Policy
from cnn_lstm_hyperopt.run_dir.outputs import checked_output, is_evaluation
from cnn_lstm_hyperopt.utils.atomic_io import json_text
from cnn_lstm_hyperopt.utils.text import printable

Model = Annotated[
    Path,
    Parameter(
        converter=path_of,
        help="Folder of a retrained model in the directory of its study, such as hyperopt_results/retrained_model_1.",
    ),
]

OldAndNewBars = Annotated[
    Path,
    Parameter(converter=path_of, help="Folder with the old and the new bars, as for run. Other symbols are not read."),
]


@app.command
def update(
    *,
    model: Model,
    data_dir: OldAndNewBars,
    policy: Annotated[
        Policy,
        Parameter(
            help="How to train the candidate. refit: new networks of the same configuration on the newest windows. finetune: the"
            " present networks for 5 more epochs at a tenth of the learning rate, on the new windows and some old ones. none:"
            " only measure."
        ),
    ] = "refit",
    dry_run: Annotated[
        bool, Parameter(negative="", help="Measure, train and compare, and say what would change. Write nothing.")
    ] = False,
    features: OwnFeatures = None,
    family: Family = None,
    on_bad_bars: OnBadBars = "error",
    debug: Debug = False,
) -> None:
    """Measure a retrained model on bars that arrived since, and create a new version if it is not worse.

    The present version predicts the new bars before anything is trained on them. Then a candidate is trained without the newest
    windows, and both predict these windows. If the candidate's log loss is not higher, a new version is trained on all windows.
    predict and export use the new version at once. All versions are kept, and rollback returns to the version before.

    Examples: update --model hyperopt_results/retrained_model_1 --data-dir bars/ --dry-run;
    update --model hyperopt_results/retrained_model_1 --data-dir bars/ --policy finetune.
    """
    found = loaded(model, features, family, tested=False, announced=False)
    from cnn_lstm_hyperopt.pipeline.updates.reading import files_reader
    from cnn_lstm_hyperopt.pipeline.updates.update import update as run_update

    result = run_update(
        model,
        files_reader(data_dir, on_bad_bars, _warn),
        policy=policy,
        dry_run=dry_run,
        features=found.features,
        on_news=_tell,
    )
    print(result)


@app.command
def evaluate(
    *,
    model: Model,
    data_dir: OldAndNewBars,
    walk_forward: Annotated[
        int,
        Parameter(
            converter=whole,
            help="Number of periods with about equal numbers of windows, such as 6. Each needs 20 dates.",
        ),
    ],
    refit: Annotated[
        bool,
        Parameter(
            negative="",
            help="Replay updates: after each period, the policies finetune and refit make the next version as update does. They"
            " are compared with the policy none.",
        ),
    ] = False,
    output: Annotated[
        Path | None, Parameter(converter=path_of, help="JSON file to write, with all figures of all periods.")
    ] = None,
    features: OwnFeatures = None,
    family: Family = None,
    on_bad_bars: OnBadBars = "error",
    force: Force = False,
    debug: Debug = False,
) -> None:
    """Measure a tested model over past periods. With --refit, also say whether updates would have paid.

    The periods begin with the study's test set. Each policy predicts a period with the version that serves then, before anything
    is trained on the period. Versions are trained, compared and accepted as in update, on labels that were known at the time.
    The model, its versions and its study do not change.

    Examples: evaluate --model hyperopt_results/retrained_model_1 --data-dir bars/ --walk-forward 6 --refit;
    evaluate --model hyperopt_results/retrained_model_1 --data-dir bars/ --walk-forward 6 --refit --output updates.json.
    """
    place = None
    if output is not None:
        place = checked_output(output, is_evaluation, command="evaluate", force=force, data_dir=data_dir)
    from cnn_lstm_hyperopt.pipeline.updates.reading import files_reader
    from cnn_lstm_hyperopt.pipeline.updates.replay import replay, require_periods
    from cnn_lstm_hyperopt.reporting.console.replay_progress import ReplayProgress

    require_periods(walk_forward, refit=refit)
    found = loaded(model, features, family, tested=True, announced=False)
    with ReplayProgress(sys.stderr) as progress:
        result = replay(
            model,
            files_reader(data_dir, on_bad_bars, progress.warn),
            walk_forward=walk_forward,
            refit=refit,
            features=found.features,
            on_period=progress.on_period,
            on_news=progress.on_news,
        )
    print(result)
    if output is not None and place is not None:
        write_output(place, output, json_text(result.as_dict()))
        print(f"Written to {output}")


def _warn(text: str) -> None:
    print(f"Warning: {printable(text, 1_000)}", file=sys.stderr)


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@app.command
def rollback(*, model: Model, debug: Debug = False) -> None:
    """Return to the version of a model that served before the present one.

    No version is deleted. The next update starts from the version that serves.

    Example: rollback --model hyperopt_results/retrained_model_1.
    """
    from cnn_lstm_hyperopt.inference.model import load_model
    from cnn_lstm_hyperopt.pipeline.updates.publish import rollback as run_rollback

    load_model(model)  # errors in the folder are reported first
    print(f"Version {run_rollback(model).current} serves now.")
