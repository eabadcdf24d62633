"""Something that cannot be written for a while: said once, counted, and said again when it works."""

import logging

log = logging.getLogger(__name__)


class Outage:
    """Failures of one kind of writing. `what` is what comes late or not at all, in the plural: "rows of metrics"."""

    def __init__(self, what: str) -> None:
        self._what = what
        self.n_failed = 0

    def failed(self, message: str) -> None:
        """Say `message`, unless it is one failure after another."""
        self.n_failed += 1
        if self.n_failed == 1:
            log.warning("%s", message)

    def over(self) -> None:
        """It works: say how often it did not, if there was an outage."""
        if self.n_failed:
            log.warning("%s can be written again after %d failures", self._what, self.n_failed)
        self.n_failed = 0
