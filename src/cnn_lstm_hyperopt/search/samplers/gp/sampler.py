"""Bayesian optimisation of three objectives: a Gaussian process each, and the expected gain in hypervolume.

The gain is that of Emmerich, Giannakoglou & Naujoks (2006, expected hypervolume improvement), by common random draws; candidates
are children of good configurations (``candidates.py``).

Where seconds are predicted before training, the search begins with cheap configurations, and seconds count against a gain. They
count less and less, as in the cost cooling of Lee et al. (2020, "Cost-aware Bayesian optimization"), with trials as the budget:
a gain is divided by 1 + seconds / affordable seconds, and what is affordable grows from what the cheapest configurations take to
what most of them do. Plain gain per second spends hundreds of trials on the tiniest.
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
from cnn_lstm_hyperopt.search.samplers.gp.acquisition import REFERENCE, by_gain, chosen_rows, thin
from cnn_lstm_hyperopt.search.samplers.gp.candidates import children
from cnn_lstm_hyperopt.search.samplers.gp.history import History, Rows, log_seconds
from cnn_lstm_hyperopt.search.samplers.gp.regression import Hyperparameters, Posterior, fit, standard
from cnn_lstm_hyperopt.search.samplers.random import RandomSampler, random_configuration
from cnn_lstm_hyperopt.search.study_plan import StudyPlan
from cnn_lstm_hyperopt.search.trial import key_of
from cnn_lstm_hyperopt.utils.rng import stream

Array = NDArray[np.float64]

CANDIDATES, PRICED_CANDIDATES = 256, 128
"""Children a proposal, fewer where each one's cost is asked for. A quarter of them (half, where the proposal is to be bold) are
random ones."""
ROWS, FIT_ROWS, FRONT_ROWS = 300, 150, 60
"""Trials that the processes see, that their hyperparameters are fitted on, and front members that the gain is measured from."""
FIRST_STEPS, WARM_STEPS = 15, 8
GOOD_SHARE, MIN_GOOD, MAX_GOOD = 0.15, 5, 60
USEFUL = 0.25
"""Of the way from chance to the best: below that, a trial has no say in what counts as slow or large."""
BOLD_EVERY, BOLDNESS = 6, 3.0
FEW_SKILLED = 3
"""COMPLETE trials above threshold below which two, or one, of three proposals are random, and all without any: where nothing was
learnt yet, every size is as likely to learn as any other, and the tiniest would be worth most, again and again."""
DRAWN, CHEAPEST = 32, 0.3
"""Random configurations that each trial of a start that goes by predicted seconds is chosen from; and the share of these, the
cheapest ones, that the start goes through."""
TYPICAL, DEAR = 128, 0.75
"""Random configurations whose predicted cost tells what the space costs; their quantile up to which seconds and MB are worth
anything, and that is affordable when the study ends."""


class GpSampler(Sampler):
    """See the module.

    Where seconds are predicted, the start goes through cheap configurations, from the cheapest on. Where they are not, it is
    random, and the process of the seconds learns from it what configurations cost.

    What must outlive a restart are the kernels' hyperparameters, which are fitted from where they were: they are stored with the
    trial whose proposal fitted them.
    """

    name, place = "gp", 4
    description = "Gaussian processes of all objectives; needs the fewest trials for a good front"
    default_startup = 12

    def __init__(self, plan: StudyPlan) -> None:
        super().__init__(plan)
        self._random = RandomSampler(plan)
        self._encoding = Encoding(plan.space)
        self._history = History(plan, self._encoding)
        self._threads = ThreadpoolController()
        self._fitted: tuple[tuple[int, int], list[Hyperparameters]] | None = None
        self._typical = self._predicted_costs() if plan.cheap_cost else None
        self._first, self._start_ends = len(plan.starts), max(self.n_startup, len(plan.starts))

    @property
    def n_blind(self) -> int:
        """See the base class."""
        return self._start_ends

    def propose(self, request: ProposalRequest) -> Proposal:
        """See the base class."""
        number = request.number
        if not self._encoding.axes:
            return Proposal({})
        if number < self._start_ends:
            return self._random.propose(request) if self._typical is None else self._cheap(request)
        rows = self._history.rows(request.history)
        skilled = sum(self.plan.skill.passes(-loss) for loss in rows.losses[rows.complete, 0])
        if rows.complete.sum() < 2 or number % FEW_SKILLED >= skilled:
            return self._random.propose(request)
        with self._threads.limit(limits=1):  # small matrices: more threads would only wait for each other
            return self._by_model(request, rows)

    def _predicted_costs(self) -> Array | None:
        """ln of the (seconds, MB) of random configurations that keep the limits, ``(configurations, 2)``.

        None where nobody can tell seconds.
        """
        drawn = (self.plan.cost(random_configuration(self.space, self.seed, number)) for number in range(TYPICAL))
        costs = [cost for cost in drawn if self.plan.limits.allow(cost)]
        if not costs or not all(cost.seconds > 0 for cost in costs):
            return None
        return np.log([[cost.seconds, cost.size_mb] for cost in costs])

    def _cheap(self, request: ProposalRequest) -> Proposal:
        """A random configuration from the cheap end, dearer from one trial of the start to the next."""
        place = CHEAPEST * (request.number - self._first + 0.5) / (self._start_ends - self._first)
        attempts = range(DRAWN * request.attempt, DRAWN * (request.attempt + 1))
        drawn = [random_configuration(self.space, self.seed, request.number, attempt) for attempt in attempts]
        drawn.sort(key=lambda params: self.plan.cost(params).seconds)
        return Proposal(self.searched(drawn[int(place * DRAWN)]))

    # ------------------------------------------------------------------ the model

    def _by_model(self, request: ProposalRequest, rows: Rows) -> Proposal:
        generator = stream(self.seed, request.number, f"proposal {request.attempt}")
        offsets = (
            self._history.predicted_log_seconds(request.history) if self.plan.cheap_cost else np.zeros(len(rows.losses))
        )
        costs = self._costs(rows, offsets)
        low, width = self._box(rows, costs)
        z = (rows.losses - low) / width
        good = self._good(rows, z)
        seen = chosen_rows(len(z), good, ROWS, generator)
        hyperparameters, note = self._hyperparameters(request, rows, seen, offsets)
        posteriors = [self._posterior(i, rows, seen, hyperparameters[i], offsets if i == 1 else None) for i in range(3)]
        front = self._front(posteriors[0], rows, low, width)
        bold = request.number % BOLD_EVERY == 0
        count = PRICED_CANDIDATES if self.plan.cheap_cost else CANDIDATES
        at_random = count // (2 if bold else 4)
        candidates = children(self._encoding, rows.vectors[good], count, at_random, generator)
        mean, sd, params = self._believed(posteriors, candidates, low, width)
        if bold:
            sd[:, 0] *= BOLDNESS
        if request.running:
            elsewhere = self._encoding.vectors(request.running)
            expected, _, _ = self._believed(posteriors, elsewhere, low, width)
            front = np.vstack([front, expected[(expected < REFERENCE).all(axis=1)]])
            front = front[non_dominated(front)]
        order = by_gain(mean, sd, front, self._worth(costs, low[1] + mean[:, 1] * width[1], len(z)), generator)
        taken = self._history.taken(request.history, request.running)
        for place in order:
            chosen = params[place] if params else self._encoding.params(candidates[place], candidates[place])
            if key_of(chosen) not in taken and self.plan.allows(chosen):
                return Proposal(chosen, note, expected_score=float(-low[0] - mean[place, 0] * width[0]))
        return Proposal(self._random.propose(request).params, note)

    def _costs(self, rows: Rows, offsets: Array) -> Array | None:
        """ln of the (seconds, MB) of random configurations, ``(configurations, 2)``; seconds by how far off trials show them."""
        if self._typical is None:
            return None
        slower = float(np.median((rows.losses[:, 1] - offsets)[rows.complete]))
        return np.asarray(self._typical + np.array([slower, 0.0]))

    def _worth(self, costs: Array | None, log_seconds: Array, done: int) -> Array:
        """What a gain counts, ``(candidates,)``; see the module."""
        if costs is None:
            return np.ones(len(log_seconds))
        affordable = np.quantile(costs[:, 0], DEAR * min(1.0, done / self.n_trials))
        return np.asarray(1.0 / (1.0 + np.exp(log_seconds - affordable)))

    def _box(self, rows: Rows, costs: Array | None) -> tuple[Array, Array]:
        """Lowest loss and range, of all useful trials: by the front's alone, larger models would be worth nothing.

        Where costs are predicted the range reaches to what most configurations cost, since a cheap start has tried none of them.

        In score the reference lies at what makes a trial useful, and never below the threshold: a model at chance is the smallest
        and the fastest of all, and would be worth most. Where none has passed the threshold, a small gain beyond it is hoped for.
        """
        skill = self.plan.skill
        score = -rows.losses[:, 0]
        best = max(float(score[rows.complete].max()), skill.threshold + skill.small_gain)
        floor = max(skill.threshold, skill.chance + USEFUL * (best - skill.chance))
        useful = rows.complete & (score > floor)
        if useful.sum() < 2:  # one alone has no range
            useful = rows.complete
        low, high = rows.losses[useful].min(axis=0), rows.losses[useful].max(axis=0)
        if costs is not None:
            high[1:] = np.maximum(high[1:], np.quantile(costs, DEAR, axis=0))
        width = np.maximum(high - low, 1e-3)
        low[0], width[0] = -best, (best - floor) / REFERENCE
        return low, width

    def _good(self, rows: Rows, z: Array) -> NDArray[np.int64]:
        """Parents: the front within the box, thinned where it is crowded; else those nearest to it."""
        candidates = np.flatnonzero(~rows.diverged)
        count = min(len(candidates), max(MIN_GOOD, min(MAX_GOOD, math.ceil(GOOD_SHARE * len(z)))))
        points = z[candidates]
        on_front = non_dominated(points)
        inside = on_front & (points < REFERENCE).all(axis=1)
        chosen = candidates[inside]
        if len(chosen) >= count:
            return chosen[thin(z[chosen], count)]
        front = points[on_front]
        beyond = np.linalg.norm(np.maximum(points - REFERENCE, 0.0), axis=1)
        over = points[:, None, :] - front  # (rows, front, 3)
        dominating = np.asarray((over >= 0).all(axis=2) & (over > 0).any(axis=2))
        depth = np.where(dominating[:, :, None], over, 0.0).max(axis=1).min(axis=1)
        distance = np.where(inside, -1.0, beyond + depth)
        return np.sort(candidates[np.argsort(distance, kind="stable")[:count]])

    def _front(self, score: Posterior, rows: Rows, low: Array, width: Array) -> Array:
        """The front to be beaten: COMPLETE trials with the score that the process believes of them, in the box.

        Of readings, the luckiest would be the front, and what is small and fast would be tried again and again to beat it.
        """
        complete = np.flatnonzero(rows.complete)
        losses = rows.losses[complete].copy()
        losses[:, 0] = score.predict(self._encoding.features(rows.vectors[complete]))[0]
        z = (losses - low) / width
        z = z[(z < REFERENCE).all(axis=1)]
        front = z[non_dominated(z)] if len(z) else z
        return front[thin(front, FRONT_ROWS)]

    def _hyperparameters(
        self, request: ProposalRequest, rows: Rows, seen: NDArray[np.int64], offsets: Array
    ) -> tuple[list[Hyperparameters], Any]:
        """Those of the latest fit, or, when the history has grown by a tenth since, fitted anew; then with a note to store."""
        latest: Any = next((row.note for row in reversed(request.history) if _is_fit(row.note)), None)
        size, n_axes = len(request.history), len(self._encoding.axes)
        starts = [Hyperparameters.initial(n_axes)] * 3
        if latest is not None and len(latest["lengths"][0]) == n_axes:
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
            found = [self._fit(i, rows, some, starts[i], steps, offsets) for i in range(3)]
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
        targets = rows.losses[some, i] - (offsets[some] if i == 1 else 0.0)
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
        # Rounded as they are stored, so that a resumed study computes with the same.
        return Hyperparameters(np.round(found.log_lengths, 4), round(found.log_noise, 4))

    def _posterior(
        self, i: int, rows: Rows, seen: NDArray[np.int64], hyperparameters: Hyperparameters, offsets: Array | None
    ) -> Posterior:
        seen = seen[rows.known(i)[seen]]
        targets = rows.losses[seen, i] - (0.0 if offsets is None else offsets[seen])
        variances = rows.variances[seen] if i == 0 else np.zeros(len(seen))
        encoding = self._encoding
        features = encoding.features(rows.vectors[seen])
        return Posterior(features, targets, variances, encoding.axis_of_column, hyperparameters)

    def _believed(
        self, posteriors: Sequence[Posterior], vectors: Array, low: Array, width: Array
    ) -> tuple[Array, Array, list[Params]]:
        """Mean and standard deviation of the losses in the box; and the configurations, where their cost was asked for."""
        features = self._encoding.features(vectors)
        mean, sd = np.zeros((len(vectors), 3)), np.zeros((len(vectors), 3))
        for i, posterior in enumerate(posteriors):
            mean[:, i], sd[:, i] = posterior.predict(features)
        params: list[Params] = []
        if self.plan.cheap_cost:
            whole = [self._encoding.configuration(vector) for vector in vectors]
            costs = [self.plan.cost(each) for each in whole]
            params = [self._encoding.searched(each) for each in whole]
            mean[:, 1] += [log_seconds(cost.seconds) for cost in costs]
            mean[:, 2] = [math.log(cost.size_mb) for cost in costs]
        return (mean - low) / width, sd / width, params


def _is_fit(note: object) -> bool:
    return isinstance(note, dict) and note.keys() >= {"size", "lengths", "noise"}
