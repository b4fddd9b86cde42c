"""Marks and seals of trials. They show which trials this program started, and whether another program changed these trials.

A study has a random key. A trial gets a mark at its start and a seal at its end; both are digests computed with the key. A
program that can write the file can also read the key, so marks and seals detect accidents, damage and naive edits, not forgery.
"""

import copy
import hashlib
import hmac
import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cnn_lstm_hyperopt.errors import TrialChangedError
from cnn_lstm_hyperopt.search.trial import StoredState, StoredTrial

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

KEY = "cnn_lstm_hyperopt:key"
"""Name of the system attribute of a study that stores the key of its marks and seals. Studies of earlier versions have no key."""
MARK = "cnn_lstm_hyperopt:mark"
"""Name of the system attribute of a trial that stores its mark. Only trials that this program started have a mark."""
DISCARDED = "cnn_lstm_hyperopt:discarded"
"""Name of the system attribute of a discarded trial that stores the reason: the change that another program made to the trial."""
SEAL = "sha256"
"""Name of the system attribute of an ended trial that stores its seal: the digest of its content, and the names of this program's
user attributes. In earlier versions, the seal is the digest alone. The digest also detects damage: SQLite has no checksums and
reads a flipped byte as another number."""
_EARLIER = ("probe", "continues")
FIXED_AT_START = ("size_mb", "estimated_seconds", "note", *_EARLIER, "expected_score", "origin", "retry_of")
"""Names of user attributes that are set only at the start of a trial, including attributes of earlier versions."""

_START_CHANGED = "another program changed its parameters or attributes"


class Seals:
    """Functions that compute and check marks and seals with the key of one study.

    Args:
        key: key of the study. None if an earlier version created the study; its trials then have no marks, and seals without a
            key.
    """

    def __init__(self, key: str | None) -> None:
        self._key = None if key is None else key.encode()

    @staticmethod
    def new_key() -> str:
        """Return a random key for a new study."""
        return secrets.token_hex(16)

    @property
    def keyed(self) -> bool:
        """Whether the study has a key."""
        return self._key is not None

    def of_study(self, attributes: Mapping[str, Any], names: Sequence[str]) -> str:
        """Return the digest of those attributes of a study that have one of these names."""
        return self._digest({name: attributes[name] for name in names if name in attributes})

    def mark(
        self, params: Mapping[str, Any], distributions: "Mapping[str, BaseDistribution]", attributes: Mapping[str, Any]
    ) -> dict[str, str]:
        """Return the signature of the parameters and user attributes of a new trial; an empty text if the study has no key."""
        if self._key is None:
            return {}
        nonce = secrets.token_hex(8)
        stored = {name: _as_stored(distributions[name], value) for name, value in params.items()}
        return {
            "nonce": nonce,
            "ours": self._digest(["trial", nonce]),
            "start": self._start(nonce, stored, json.loads(json.dumps(dict(attributes)))),
        }

    def nonce(self, trial: StoredTrial) -> str | None:
        """Return the identifier of a trial of this program; None if another program started the trial."""
        mark = trial.system_attrs.get(MARK)
        if self._key is None:
            return f"number {trial.number}" if "size_mb" in trial.user_attrs else None
        if not isinstance(mark, dict) or not isinstance(nonce := mark.get("nonce"), str):
            return None
        return nonce if mark.get("ours") == self._digest(["trial", nonce]) else None

    def started_so(self, trial: StoredTrial) -> bool:
        """Return whether a trial's parameters and fixed attributes are unchanged since its start."""
        if self._key is None:
            return True
        if (nonce := self.nonce(trial)) is None:
            return False
        return bool(trial.system_attrs[MARK].get("start") == self._start(nonce, trial.params, trial.user_attrs))

    def require_as_stored(self, trial: StoredTrial, attributes: Mapping[str, Any] | None) -> None:
        """Check that another program has not changed a running trial; called before the trial is sealed.

        Args:
            trial: the trial as stored now.
            attributes: attributes that this process stored, which are compared; None if another process ran the trial.

        Raises:
            TrialChangedError: another program changed the trial.
        """
        if not self.started_so(trial):
            raise TrialChangedError(_START_CHANGED, code="trial-start-changed")
        if attributes is not None and (different := _different(attributes, trial.user_attrs)):
            text = f"another program changed its attributes ({', '.join(different)})"
            raise TrialChangedError(text, code="trial-attributes-changed")

    def seal(
        self, trial: StoredTrial, names: Iterable[str], state: StoredState, values: Sequence[float] | None
    ) -> dict[str, Any]:
        """Return the seal of a trial: a digest of its number, parameters, named attributes, final state and values."""
        names = sorted(names)
        return {"digest": self._of_ended(trial, _named(trial.user_attrs, names), state, values), "names": names}

    def is_sealed(self, trial: StoredTrial) -> bool:
        """Return whether the content of an ended trial matches its seal."""
        seal = trial.system_attrs.get(SEAL)
        digest = seal.get("digest") if isinstance(seal, Mapping) else seal
        return bool(digest == self._of_ended(trial, own_attributes(trial), trial.state, trial.values))

    def _of_ended(
        self, trial: StoredTrial, attributes: Mapping[str, Any], state: StoredState, values: Sequence[float] | None
    ) -> str:
        ended = None if values is None else list(values)
        return self._digest([trial.number, state.name, trial.params, ended, dict(attributes)])

    def _start(self, nonce: str, params: Mapping[str, Any], attributes: Mapping[str, Any]) -> str:
        fixed = {name: attributes[name] for name in FIXED_AT_START if name in attributes}
        return self._digest(["start", nonce, dict(params), fixed])

    def _digest(self, content: Any) -> str:
        text = json.dumps(content, sort_keys=True).encode()
        if self._key is None:
            return hashlib.sha256(text).hexdigest()
        return hmac.digest(self._key, text, "sha256").hex()


class Ownership:
    """Classification of a study's trials: own trials, trials of other programs, and trials that other programs changed.

    Attributes:
        foreign: state of each trial that another program added, by trial number.
        changed: change that another program made to each discarded trial, by trial number.
    """

    def __init__(self, seals: Seals) -> None:
        self.seals = seals
        self.foreign: dict[int, str] = {}
        self.changed: dict[int, str] = {}
        self._numbers: dict[str, int] = {}
        self._named: set[int] = set()
        self._settled: set[int] = set()

    def accepts(self, trial: StoredTrial) -> bool:
        """Return True if a trial's mark and seal show that this program started it and no other program changed it."""
        number = trial.number
        if number in self._settled:
            return False
        nonce = self.seals.nonce(trial)
        if nonce is None and self.seals.keyed and trial.state.is_finished() and self.seals.is_sealed(trial):
            return True  # a damaged mark is harmless if the seal is valid
        if nonce is None or self._numbers.setdefault(nonce, number) != number:
            self.foreign[number] = trial.state.name
            if trial.state.is_finished():
                self._settled.add(number)
            return False
        why = self._why_changed(trial)
        if why is None:
            return True
        self.changed.setdefault(number, why)
        return False

    def _why_changed(self, trial: StoredTrial) -> str | None:
        if (why := trial.system_attrs.get(DISCARDED)) is not None:
            return str(why)
        if trial.state.is_finished():
            return None if SEAL in trial.system_attrs else f"another program ended it as {trial.state.name}"
        if not self.seals.started_so(trial):
            return _START_CHANGED
        return None

    def news(self) -> list[str]:
        """Return a sentence about new trials of other programs, and one about each newly changed trial, since the last call."""
        lines = []
        foreign = {number: state for number, state in sorted(self.foreign.items()) if number not in self._named}
        if foreign:
            states = ", ".join(dict.fromkeys(foreign.values()))
            lines.append(
                f"{numbered(list(foreign))} of the study {'were' if len(foreign) > 1 else 'was'} added by another program"
                f" ({states}) and {'are' if len(foreign) > 1 else 'is'} skipped: only trials of this program count"
            )
        changed = {number: why for number, why in sorted(self.changed.items()) if number not in self._named}
        lines += [
            f"trial {number} is not used: {why}; another trial takes its place" for number, why in changed.items()
        ]
        self._named |= foreign.keys() | changed.keys()
        return lines


SHOWN = 10
"""Maximum number of trial numbers that are listed in a sentence."""


def numbered(numbers: Sequence[int]) -> str:
    """Return trial numbers as text: ``trial 3``, ``trials 3 and 4``, ``trials 3, 4, … and 7 more``."""
    if len(numbers) == 1:
        return f"trial {numbers[0]}"
    shown, more = list(map(str, numbers[:SHOWN])), len(numbers) - SHOWN
    if more > 0:
        return f"trials {', '.join(shown)} and {more} more"
    return f"trials {', '.join(shown[:-1])} and {shown[-1]}"


def with_attributes(trial: "FrozenTrial", attributes: Mapping[str, Any]) -> "FrozenTrial":
    """Return a copy of a trial with further or replaced user attributes."""
    changed = copy.copy(trial)
    changed.user_attrs = {**trial.user_attrs, **attributes}
    return changed


def _different(expected: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Return the names of the expected attributes that are missing from ``found`` or have another value."""
    return [name for name in sorted(expected) if _text_of(expected, name) != _text_of(found, name)]


def own_attributes(trial: StoredTrial) -> dict[str, Any]:
    """Return the user attributes whose names are in a trial's seal; return all user attributes if the seal contains no names."""
    seal = trial.system_attrs.get(SEAL)
    names = seal.get("names") if isinstance(seal, Mapping) else None
    return _named(trial.user_attrs, names) if isinstance(names, list) else dict(trial.user_attrs)


def _named(attributes: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: attributes[name] for name in names if name in attributes}


def _text_of(attributes: Mapping[str, Any], name: str) -> str | None:
    """Return an attribute as JSON text, so that NaN equals NaN; None if the attribute is missing."""
    return json.dumps(attributes[name], sort_keys=True) if name in attributes else None


def _as_stored(distribution: "BaseDistribution", value: Any) -> Any:
    """Return a parameter value in the form in which Optuna returns it after storing it."""
    return distribution.to_external_repr(distribution.to_internal_repr(value))
