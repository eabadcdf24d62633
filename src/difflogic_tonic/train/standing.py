"""Where a run is, how long it still takes, and whether SLURM gives it that time."""

import datetime
import logging
import time

from difflogic_tonic.runs.status import SHORT_EPOCH_SECONDS
from difflogic_tonic.train.state import Progress

log = logging.getLogger(__name__)


class Standing:
    """`end`: the time limit of the job (Unix seconds; None without one); `saves`: checkpoints of earlier starts."""

    def __init__(self, end: float | None, saves: int = 0) -> None:
        self._end = end
        self._warned = False
        self.saves = saves

    def facts(self, progress: Progress, epochs: int) -> dict[str, object]:
        """For `status.json`: epoch, epochs, step, saves, `eta_seconds` (once it can be known) and
        `time_left_seconds` (in a SLURM job).
        """
        facts: dict[str, object] = {
            "epoch": progress.epoch,
            "epochs": epochs,
            "step": progress.step,
            "saves": self.saves,
        }
        eta = eta_seconds(progress, epochs)
        if eta is not None:
            facts["eta_seconds"] = round(eta, 1)
        if self._end is not None:
            facts["time_left_seconds"] = round(self._end - time.time(), 1)
        return facts

    def saved(self) -> None:
        """One more checkpoint is on its way."""
        self.saves += 1

    def compare(self, progress: Progress, epochs: int) -> None:
        """Warn, once, if the job ends before the run does."""
        eta = eta_seconds(progress, epochs)
        if self._end is None or eta is None or self._warned:
            return
        left = self._end - time.time()
        if eta > left:
            self._warned = True
            log.warning(
                "SLURM ends this job in %s and the run takes about %s: it will save and be queued again; "
                "ask for more with --time to spare it that",
                _span(left),
                _span(eta),
            )


def eta_seconds(progress: Progress, epochs: int) -> float | None:
    """Seconds until the last epoch is over, if they take as long as those before.

    None before the first epoch is over, and if it was short before the second is.
    """
    if progress.epoch == 0 or (progress.epoch == 1 < epochs and progress.seconds < SHORT_EPOCH_SECONDS):
        return None
    return max(0, epochs - progress.epoch) * progress.seconds / progress.epoch


def _span(seconds: float) -> str:
    return str(datetime.timedelta(seconds=max(0, round(seconds))))
