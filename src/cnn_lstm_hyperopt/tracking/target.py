"""Interface of the places to which trackers export a study."""

import abc


class Target(abc.ABC):
    """Place to which a study is exported: a server, a database or a folder.

    Subclasses are dataclasses whose fields JSON can store, because the run passes them to the exporting process.
    """

    @property
    @abc.abstractmethod
    def shown(self) -> str:
        """Name of the place without passwords."""

    @property
    def inside(self) -> str:
        """Text that names the part of the place that has the study, such as `` in its experiment X``; empty for the whole."""
        return ""

    @abc.abstractmethod
    def how_to_look(self, experiment_id: str) -> str:
        """Return the command that shows the exported study, and notes on further lines."""

    @abc.abstractmethod
    def error_text(self, error: BaseException) -> str:
        """Return an error of the export as one line of text without secrets."""

    @abc.abstractmethod
    def without_secrets(self, text: str) -> str:
        """Return the text with every password and token masked."""
