"""Bounds on the size and the latency of an ensemble. Members are left out one after the other until the ensemble keeps them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cnn_lstm_hyperopt.inference.ensemble import Member
from cnn_lstm_hyperopt.pipeline.ensemble_weights import Weighting
from cnn_lstm_hyperopt.training.latency import window_milliseconds


@dataclass(frozen=True)
class Kept:
    """Candidates that an ensemble may have, with their weights.

    Attributes:
        places: positions of the candidates, in increasing order.
        weighting: weights of these candidates.
        latency_ms: measured milliseconds of the members for one window; None without a bound.
    """

    places: list[int]
    weighting: Weighting
    latency_ms: float | None = None


@dataclass(frozen=True)
class EnsembleLimits:
    """Bounds of the section ``constraints`` that hold for an ensemble, too.

    Attributes:
        size_mb: maximum size of all members in MB; None: no bound.
        latency_ms: maximum milliseconds of all members for one window, one after the other on one thread; None: no bound.
        on_note: called with a line if candidates are left out.
    """

    size_mb: float | None = None
    latency_ms: float | None = None
    on_note: Callable[[str], None] = lambda text: None

    def kept(
        self,
        members: Sequence[Member],
        weigh: Callable[[Sequence[int]], Weighting],
        score_without: Callable[[Weighting, Sequence[int], int], float],
    ) -> Kept | None:
        """Return candidates whose weighted members keep the bounds; None if no two candidates do.

        Members that break a bound alone are left out first. Then the member is left out without which the others have the
        best score, and the remaining candidates get new weights.

        Args:
            members: all candidates.
            weigh: returns the weights of the candidates at these positions.
            score_without: returns the score of the weighted candidates at these positions without the one at a place among
                them.
        """
        places = list(range(len(members)))
        while len(places) > 1:
            weighting = weigh(places)
            if self.size_mb is None and self.latency_ms is None:
                return Kept(places, weighting)
            order = weighting.order
            size, latency = self._costs([members[places[each]] for each in order])
            if self._allows(size, latency):
                if left_out := len(members) - len(places):
                    self.on_note(f"the ensemble leaves out {left_out} of {len(members)} models to keep {self._text}")
                return Kept(places, weighting, latency)
            out = {each for each in order if not self._allows(*self._costs([members[places[each]]]))}
            if not out:
                out = {max(order, key=lambda each: score_without(weighting, places, each))}
            places = [place for number, place in enumerate(places) if number not in out]
        self.on_note(f"there is no ensemble, because no two models together keep {self._text}")
        return None

    def _costs(self, members: Sequence[Member]) -> tuple[float, float | None]:
        """Return the MB of members, and their milliseconds if there is a bound."""
        networks = [network for each in members for network, _ in each.model.parts()]
        lookback = members[0].model.description.lookback
        size = sum(each.config.cost(lookback=lookback).size_mb for each in networks)
        return size, None if self.latency_ms is None else window_milliseconds(networks, lookback)

    def _allows(self, size: float, latency: float | None) -> bool:
        small = self.size_mb is None or size <= self.size_mb
        return small and (self.latency_ms is None or latency is None or latency <= self.latency_ms)

    @property
    def _text(self) -> str:
        bounds = {"size_mb": self.size_mb, "latency_ms": self.latency_ms}
        return " and ".join(f"constraints.{name} {bound:g}" for name, bound in bounds.items() if bound is not None)


NO_LIMITS = EnsembleLimits()
