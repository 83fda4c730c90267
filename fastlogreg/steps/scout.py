"""Solutions from rows that are too few for Newton steps."""

from fastlogreg.data.layouts import as_design
from fastlogreg.data.rows import Rows


class Scout:
    """Steps with a curvature for each column, over the same stream as Newton steps by blocks of rows.

    With few rows for each column, a Newton step costs as much as with many, and leads to a minimum that is far from
    that of the rows to come. These steps cost no more than a gradient. They are handed out until Newton's predict the
    rows of a block better, each row before the step that knows it.

    Parameters
    ----------
    steps : DiagonalSteps or SoftmaxDiagonalSteps
    """

    def __init__(self, steps):
        self._steps, self._seen = steps, 0
        steps.begin_epoch()

    def __copy__(self):
        copied = Scout.__new__(Scout)
        copied._steps, copied._seen = self._steps.fork(), self._seen
        return copied

    def go_on(self, settings):
        """Go on with another penalty."""
        self._steps = self._steps.go_on(settings, 0)

    def follow(self, block):
        """Take the rows that wait in a `RowBlock`, of which those before were taken; returns the loss of them all."""
        if block.count > self._seen:
            X, target, weight = block.waiting(self._seen)
            self._steps.feed(Rows(as_design(X)), target, weight)
            self._seen = block.count
        return self._steps.loss_sum

    def end_block(self):
        """The block that was followed makes way to the next."""
        self._seen = 0
        self._steps.begin_epoch()

    def solution(self):
        """Coefficients and intercepts."""
        return self._steps.solution()
