"""Where the values of a stream's columns are measured from.

Squares of times, years or numbers of orders hide how these differ: at a million spreads from zero, twelve digits are
gone. An intercept makes the origin of a column a matter of choice, so columns far from zero are measured from their
mean. A stream's mean is known only in part, and may drift: the origin follows where the mean has left it far behind.
"""

import numpy as np

# A column is far from its origin where its mean is more than ten standard deviations away: two of the sixteen digits of
# its squares are gone there. Nearer columns stay where they are, those of sparse X with their zeros among them: in a
# column that far off, zeros are fewer than one in a hundred.
FAR = 10.0


class Origin:
    """The origins of a stream's columns, and the columns' weighted moments so far.

    Attributes
    ----------
    value : ndarray of shape (n_features,)
    """

    def __init__(self, n_features):
        self.value, self._mean, self._squares = np.zeros((3, n_features))
        self._weight = 0.0

    def __copy__(self):
        copied = Origin(0)
        copied.value, copied._mean, copied._squares = self.value, self._mean, self._squares
        copied._weight = self._weight
        return copied

    def admit(self, weight, mean, squares):
        """Take in the moments of some rows: their weight, means and sums of squares about these. Returns what was added
        to the origins, or None where they stay.
        """
        total = self._weight + weight
        with np.errstate(over="ignore", invalid="ignore"):  # the caller looks at the solution
            change, share = mean - self._mean, weight / total
            # new arrays, as a copy may share the old ones
            self._squares = self._squares + squares + self._weight * share * change**2
            self._mean = self._mean + share * change
            self._weight = total
            shift = self._mean - self.value
            far = total * shift**2 > FAR**2 * self._squares
        if not far.any():
            return None
        shift[~far] = 0.0
        before, self.value = self.value, np.where(far, self._mean, self.value)
        return self.value - before
