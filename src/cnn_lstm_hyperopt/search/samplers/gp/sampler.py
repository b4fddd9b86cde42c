"""Bayesian optimisation of three objectives: a Gaussian process for each objective, and the expected gain in hypervolume.

The MB of a configuration need no Gaussian process if they are known before training.

If the plan has constraints, the excess of each measured value over its bound has a Gaussian process, too. The gain is multiplied
by the probability of feasibility (Gardner et al. 2014), and only feasible trials are on the front and are parents.

The gain is the expected hypervolume improvement of Emmerich, Giannakoglou & Naujoks (2006), computed with the same random draws
for all candidates. Candidates are children of good configurations (``candidates.py``).

If the training seconds of configurations are predicted, the search starts with cheap configurations, and a gain is divided by 1 +
seconds / affordable seconds. The affordable seconds grow with the number of trials, from the seconds of the cheapest
configurations to a bound that most configurations meet (cost cooling of Lee et al. 2020, "Cost-aware Bayesian optimization", with
trials as the budget). A sampler that maximised the gain per second would spend hundreds of trials on the smallest models.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from cnn_lstm_hyperopt.config import Params
from cnn_lstm_hyperopt.pareto import non_dominated
from cnn_lstm_hyperopt.search.samplers.base import Proposal, ProposalRequest, Sampler
from cnn_lstm_hyperopt.search.samplers.encoding import Encoding
from cnn_lstm_hyperopt.search.samplers.gp.acquisition import (
    REFERENCE,
    cost_discount,
    nearest_to_front,
    parents,
    ranked_by_gain,
    subsample,
    thin,
)
from cnn_lstm_hyperopt.search.samplers.gp.candidates import children
from cnn_lstm_hyperopt.search.samplers.gp.feasibility import MIN_MEASURED, feasibility, no_parents, promising
from cnn_lstm_hyperopt.search.samplers.gp.history import N_LOSSES, History, Rows, log_seconds
from cnn_lstm_hyperopt.search.samplers.gp.regression import Hyperparameters, Posterior, fit, standard
from cnn_lstm_hyperopt.search.samplers.random import RandomSampler, random_configuration
from cnn_lstm_hyperopt.search.study_plan import StudyPlan
from cnn_lstm_hyperopt.search.trial import key_of
from cnn_lstm_hyperopt.utils.rng import stream

Array = NDArray[np.float64]

CANDIDATES, PRICED_CANDIDATES = 256, 128
"""Number of candidates for a proposal: without predicted costs, and with predicted costs. A quarter of the candidates are random.
In every sixth proposal, half of the candidates are random."""
ROWS, FIT_ROWS, FRONT_ROWS = 300, 150, 60
"""Maximum number of trials in the models, of trials for the fit of hyperparameters, and of front members in gain computations."""
FIRST_STEPS, WARM_STEPS = 15, 8
USEFUL = 0.25
"""A trial is useful if its score minus chance exceeds this share of the best score minus chance."""
BOLD_EVERY, BOLDNESS = 6, 3.0
FEW_SKILLED = 3
"""With two, one or no COMPLETE trials above the skill threshold, one third, two thirds or all proposals are random. Without
trials above the threshold, the models would repeatedly prefer the smallest configurations."""
DRAWN, CHEAPEST = 32, 0.3
"""Each trial of a cheap start is chosen from random configurations. The first number is the number of these configurations. The
second number is the share of configurations that may be chosen: the cheapest ones."""
TYPICAL, EXPENSIVE = 128, 0.75
"""Number of random configurations whose predicted costs describe the space, and a quantile of these costs that counts as
expensive. The ranges of seconds and MB extend at least to this quantile. At the end of the study, the quantile of the seconds is
affordable."""

CROWDED = 0.05
"""Two configurations whose features (see :class:`.Encoding`) are nearer than this are almost the same."""


class GpSampler(Sampler):
    """Sampler that proposes the candidate with the largest expected gain in hypervolume; see the docstring of the module.

    Running trials count with their predicted losses, so that simultaneous proposals do not crowd.

    If seconds are predicted, the first trials are cheap configurations in order of increasing cost. If seconds are not predicted,
    the first trials are random, and the model of the seconds is fitted to measured seconds.

    Kernel hyperparameters are fitted during a proposal and stored with the proposed trial. So each fit starts from the result of
    the last fit, also in a resumed study.
    """

    name, place = "gp", 4
    description = "Gaussian processes of all objectives; needs the fewest trials for a good front"
    cost_share = 0.35
    default_startup = 12

    def __init__(self, plan: StudyPlan) -> None:
        super().__init__(plan)
        self._random = RandomSampler(plan)
        self._encoding = Encoding(plan.space)
        self._history = History(plan, self._encoding)
        self._threads = ThreadpoolController()
        self._fitted: tuple[tuple[int, int], list[Hyperparameters]] | None = None
        self._n_models = 2 if plan.cheap_cost else 3
        """Number of losses with a model: the score, the seconds, and the MB unless the MB are known before training."""
        self._limited = [N_LOSSES + place for place in range(len(plan.constraints))]
        """Indices of the constraints among the targets of models; see :meth:`.Rows.target`."""
        self._typical = self._predicted_costs() if plan.cheap_cost else None
        self._first, self._start_ends = len(plan.starts), max(self.n_startup, len(plan.starts))

    @property
    def n_blind(self) -> int:
        return self._start_ends

    def propose(self, request: ProposalRequest) -> Proposal:
        number = request.number
        if not self._encoding.axes:
            return Proposal({})
        if number < self._start_ends:
            return self._random.propose(request) if self._typical is None else self._cheap_start(request)
        rows = self._history.rows(request.history)
        skilled = np.count_nonzero(-rows.losses[rows.complete, 0] > self.plan.skill.threshold)
        if rows.complete.sum() < 2 or number % FEW_SKILLED >= skilled:
            return self._random.propose(request)
        with self._threads.limit(limits=1):  # faster for small matrices
            return self._by_model(request, rows)

    def crowds(self, proposal: Proposal, others: Sequence[Params]) -> bool:
        """Return whether one of ``others`` is almost the same configuration, from which the study would learn almost nothing."""
        if not others or not self._encoding.axes:
            return False
        features = self._encoding.features(self._encoding.vectors([proposal.params, *others]))
        return bool((np.linalg.norm(features[1:] - features[0], axis=1) < CROWDED).any())

    def _predicted_costs(self) -> Array | None:
        """Return the predicted ln (seconds, MB) of random configurations, ``(configurations, 2)``; None without predictions."""
        drawn = (self.plan.cost(random_configuration(self.space, self.seed, number)) for number in range(TYPICAL))
        costs = [cost for cost in drawn if self.plan.limits.allow(cost)]
        if not costs or not all(cost.seconds > 0 for cost in costs):
            return None
        return np.log([[cost.seconds, cost.size_mb] for cost in costs])

    def _cheap_start(self, request: ProposalRequest) -> Proposal:
        """Propose a random cheap configuration for one of the first trials, which become more expensive from trial to trial."""
        place = CHEAPEST * (request.number - self._first + 0.5) / (self._start_ends - self._first)
        attempts = range(DRAWN * request.attempt, DRAWN * (request.attempt + 1))
        drawn = [random_configuration(self.space, self.seed, request.number, attempt) for attempt in attempts]
        drawn.sort(key=lambda params: self.plan.cost(params).seconds)
        return Proposal(self.searched(drawn[int(place * DRAWN)]))

    # ------------------------------------------------------------------ the model

    def _by_model(self, request: ProposalRequest, rows: Rows) -> Proposal:
        generator = stream(self.seed, request.number, request.draws)
        offsets = (
            self._history.predicted_log_seconds(request.history) if self.plan.cheap_cost else np.zeros(len(rows.losses))
        )
        costs = self._costs(rows, offsets)
        low, width = self._box(rows, costs)
        z = (rows.losses - low) / width
        good = parents(z, no_parents(rows.excesses, rows.diverged))
        seen = subsample(len(z), good, ROWS, generator)
        hyperparameters, note = self._hyperparameters(request, rows, seen, offsets)
        posteriors = [self._posterior(i, rows, seen, hyperparameters[i], offsets) for i in range(self._n_models)]
        front = self._front(posteriors[0], rows, low, width)
        bold = request.number % BOLD_EVERY == 0
        count = PRICED_CANDIDATES if self.plan.cheap_cost else CANDIDATES
        at_random = count // (2 if bold else 4)
        candidates = children(self._encoding, rows.vectors[good], count, at_random, generator)
        if request.running:
            running = self._encoding.vectors(request.running)
            expected, _ = self._predict(posteriors, running, low, width)
            front = np.vstack([front, expected[(expected < REFERENCE).all(axis=1)]])
            front = front[non_dominated(front)]
            posteriors = [each.with_pending(self._encoding.features(running)) for each in posteriors]
        mean, sd = self._predict(posteriors, candidates, low, width)
        if bold:
            sd[:, 0] *= BOLDNESS
        discount, done = np.ones(len(mean)), min(1.0, len(z) / self.n_trials)
        if costs is not None:
            quantile = EXPENSIVE * done
            discount = cost_discount(low[1] + mean[:, 1] * width[1], costs[:, 0], quantile)
        measured = [i for i in self._limited if rows.known(i)[seen].sum() >= MIN_MEASURED]
        limited = [self._posterior(i, rows, seen, hyperparameters[i], offsets) for i in measured]
        feasible = feasibility(limited, self._encoding.features(candidates))
        likely = promising(feasible, done)
        ranked = ranked_by_gain(mean[likely], sd[likely], front, (discount * feasible)[likely], generator)
        finished = {row.number for row in request.history}
        running_keys = {key_of(each) for each in request.running}
        for place in likely[ranked]:
            chosen = self._encoding.params(candidates[place], candidates[place])
            key = key_of(chosen)
            if key not in running_keys and not self._history.has(key, finished) and self.plan.allows(chosen):
                return Proposal(chosen, note, expected_score=float(-low[0] - mean[place, 0] * width[0]))
        return Proposal(self._random.propose(request).params, note)

    def _costs(self, rows: Rows, offsets: Array) -> Array | None:
        """Return the corrected ln (seconds, MB) of random configurations, ``(configurations, 2)``; None without predicted costs.

        The seconds are corrected by the median of the differences between measured and predicted ln seconds.
        """
        if self._typical is None:
            return None
        slower = float(np.median((rows.losses[:, 1] - offsets)[rows.complete]))
        return np.asarray(self._typical + np.array([slower, 0.0]))

    def _box(self, rows: Rows, costs: Array | None) -> tuple[Array, Array]:
        """Return the minimum and the range of each loss over the useful trials, two arrays of shape ``(3,)``.

        With the range over the front alone, larger models would have no gain. With predicted costs, the range extends to the
        costs of most configurations, because the first trials are chosen to be cheap and would make the range too small.

        The reference score is the lowest useful score, and at least the skill threshold. Otherwise, the smallest and fastest
        models would gain most, even without skill. If no trial is above the threshold, the best score is set slightly above the
        threshold.
        """
        skill = self.plan.skill
        score = -rows.losses[:, 0]
        complete = rows.feasible if rows.feasible.sum() >= 2 else rows.complete
        best = max(float(score[complete].max()), skill.threshold + skill.small_gain)
        floor = max(skill.threshold, skill.chance + USEFUL * (best - skill.chance))
        useful = complete & (score > floor)
        if useful.sum() < 2:  # a single trial has no range
            useful = complete
        low, high = rows.losses[useful].min(axis=0), rows.losses[useful].max(axis=0)
        if costs is not None:
            high[1:] = np.maximum(high[1:], np.quantile(costs, EXPENSIVE, axis=0))
        width = np.maximum(high - low, 1e-3)
        low[0], width[0] = -best, (best - floor) / REFERENCE
        return low, width

    def _front(self, score: Posterior, rows: Rows, low: Array, width: Array) -> Array:
        """Return the scaled losses of the front of feasible trials, shape ``(front, 3)``, with scores predicted by the model.

        A front of measured scores would consist of the scores with the largest positive errors (selection noise). Scores are
        predicted for at most :data:`ROWS` trials, so that a proposal after 5,000 trials takes little longer than after 1,000.
        """
        complete = np.flatnonzero(rows.feasible)
        if not len(complete):
            return np.empty((0, N_LOSSES))
        z = (rows.losses[complete] - low) / width
        near = nearest_to_front(z, ROWS)
        z = z[near]
        features = self._encoding.features(rows.vectors[complete[near]])
        z[:, 0] = (score.predict_mean(features) - low[0]) / width[0]
        z = z[(z < REFERENCE).all(axis=1)]
        front = z[non_dominated(z)] if len(z) else z
        return front[thin(front, FRONT_ROWS)]

    def _hyperparameters(
        self, request: ProposalRequest, rows: Rows, seen: NDArray[np.int64], offsets: Array
    ) -> tuple[list[Hyperparameters], Any]:
        """Return the hyperparameters of all targets, and a note to store with the trial; the note is None without a new fit.

        Hyperparameters are fitted again when the history has grown by a tenth since the latest fit.
        """
        latest: Any = next((row.note for row in reversed(request.history) if _is_fit(row.note)), None)
        size, n_axes = len(request.history), len(self._encoding.axes)
        modelled = [*range(self._n_models), *self._limited]
        starts = [Hyperparameters.initial(n_axes)] * (N_LOSSES + len(self._limited))
        if latest is not None and len(latest["lengths"][0]) == n_axes and len(latest["lengths"]) == len(starts):
            starts = [
                Hyperparameters(np.array(lengths), noise)
                for lengths, noise in zip(latest["lengths"], latest["noise"], strict=True)
            ]
            if size < 1.1 * latest["size"] + 5:
                return starts, None
        key = (request.number, size)
        if self._fitted is None or self._fitted[0] != key:
            generator = stream(self.seed, request.number, "rows to fit on")
            some = np.sort(generator.permutation(seen)[:FIT_ROWS])
            steps = FIRST_STEPS if latest is None else WARM_STEPS
            found = [
                self._fit(i, rows, some, start, steps, offsets) if i in modelled else start
                for i, start in enumerate(starts)
            ]
            self._fitted = (key, found)
        fitted = self._fitted[1]
        return fitted, {
            "size": size,
            "lengths": [each.log_lengths.tolist() for each in fitted],
            "noise": [each.log_noise for each in fitted],
        }

    def _fit(
        self, i: int, rows: Rows, some: NDArray[np.int64], start: Hyperparameters, steps: int, offsets: Array
    ) -> Hyperparameters:
        some = some[rows.known(i)[some]]
        if len(some) < 2:
            return start
        targets = rows.target(i)[some] - (offsets[some] if i == 1 else 0.0)
        mean, sd = standard(targets)
        variances = rows.variances[some] / sd**2 if i == 0 else np.zeros(len(some))
        encoding = self._encoding
        found = fit(
            encoding.features(rows.vectors[some]),
            (targets - mean) / sd,
            variances,
            encoding.axis_of_column,
            start,
            steps=steps,
        )
        # Rounded like the stored note, so that a resumed study uses the same values.
        return Hyperparameters(np.round(found.log_lengths, 4), round(found.log_noise, 4))

    def _posterior(
        self, i: int, rows: Rows, seen: NDArray[np.int64], hyperparameters: Hyperparameters, offsets: Array
    ) -> Posterior:
        seen = seen[rows.known(i)[seen]]
        targets = rows.target(i)[seen] - (offsets[seen] if i == 1 else 0.0)
        variances = rows.variances[seen] if i == 0 else np.zeros(len(seen))
        encoding = self._encoding
        features = encoding.features(rows.vectors[seen])
        return Posterior(features, targets, variances, encoding.axis_of_column, hyperparameters)

    def _predict(
        self, posteriors: Sequence[Posterior], vectors: Array, low: Array, width: Array
    ) -> tuple[Array, Array]:
        """Return mean and standard deviation of the scaled losses of snapped vectors, ``(vectors, 3)`` each."""
        features = self._encoding.features(vectors)
        mean, sd = np.zeros((len(vectors), 3)), np.zeros((len(vectors), 3))
        for i, posterior in enumerate(posteriors):
            mean[:, i], sd[:, i] = posterior.predict(features)
        if self.plan.cheap_cost:
            costs = [self.plan.cost(each) for each in self._encoding.configurations(vectors)]
            mean[:, 1] += [log_seconds(cost.seconds) for cost in costs]
            mean[:, 2] = [math.log(cost.size_mb) for cost in costs]
        return (mean - low) / width, sd / width


def _is_fit(note: object) -> bool:
    return isinstance(note, dict) and note.keys() >= {"size", "lengths", "noise"}
