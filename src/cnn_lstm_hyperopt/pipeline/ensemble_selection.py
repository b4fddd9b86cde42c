"""The ensemble of the finalists: of all their models, with every seed, chosen on the validation windows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from cnn_lstm_hyperopt.data.windows import Windows
from cnn_lstm_hyperopt.inference.ensemble import ROUNDS, Ensemble, Member, mean_of, select
from cnn_lstm_hyperopt.metrics import score as metric_score
from cnn_lstm_hyperopt.pipeline.retraining import Retrained
from cnn_lstm_hyperopt.training import Predictions


@dataclass(frozen=True)
class Blend:
    """An ensemble and how it was chosen.

    Attributes:
        ensemble: its members have weights above 0, the largest first.
        places: of each member, that of its finalist and that of its run among those it was chosen from.
        validation_score: the study's metric on the windows on which it was chosen and its members were stopped, so it flatters;
            None where it is not defined.
        best_member_validation_score: of the single model that is best there, which flatters as much.
    """

    ensemble: Ensemble
    places: tuple[tuple[int, int], ...]
    validation_score: float | None
    best_member_validation_score: float | None

    def mean(self, said: Sequence[Sequence[Predictions]]) -> Predictions:
        """What the ensemble says, from what each run of each finalist says."""
        chosen = [said[finalist][run] for finalist, run in self.places]
        return mean_of(chosen, [each.weight for each in self.ensemble.members])


def blend(retrained: Sequence[Retrained], validation: Windows, metric: str) -> Blend | None:
    """The best mean of the finalists' models on the validation windows; None where there is a single model only.

    It depends on the models and the windows alone, so that a run that goes on after a kill finds the same.
    """
    places = [(finalist, run) for finalist, each in enumerate(retrained) for run in range(len(each.runs))]
    if len(places) < 2:
        return None
    said = [[run.model.predict_windows(validation) for run in each.runs] for each in retrained]
    labels = validation.labels.numpy()
    library = np.stack([said[finalist][run].probabilities for finalist, run in places])

    def chosen_in(rounds: int) -> Blend:
        weights = select(library, labels, lambda truth, mean: metric_score(metric, truth, mean), rounds)
        order = [place for place in np.argsort(-weights, kind="stable").tolist() if weights[place] > 0]
        members = tuple(_member(retrained, places[place], float(weights[place])) for place in order)
        found = Blend(Ensemble(members), tuple(places[place] for place in order), None, best)
        return replace(found, validation_score=_known(metric_score(metric, labels, found.mean(said).probabilities)))

    singles = [_known(metric_score(metric, labels, each)) for each in library]
    best = max((each for each in singles if each is not None), default=None)
    found = chosen_in(ROUNDS)
    if found.validation_score is not None and best is not None and found.validation_score < best:
        return chosen_in(1)  # rounding to float32 can turn a tie of two classes
    return found


def _member(retrained: Sequence[Retrained], place: tuple[int, int], weight: float) -> Member:
    each = retrained[place[0]]
    run = each.runs[place[1]]
    return Member(run.model, weight, each.finalist.rank, each.finalist.trial_number, run.seed)


def _known(score: float) -> float | None:
    return score if np.isfinite(score) else None
