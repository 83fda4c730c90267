"""What the passes of two classes and of several share where X and the samples lie in this process's memory."""


cdef class LocalPasses:
    """A design matrix and its samples: see `fastlogreg.data.passes`.

    Parameters
    ----------
    design : Design
        The matrix X (n, d).
    samples : fastlogreg.data.samples.Samples
    """

    def __init__(self, Design design, samples):
        self.design, self.samples = design, samples
        self.n_classes, self.total_weight = samples.n_classes, samples.total_weight
        if len(samples) != design.n_samples:
            raise ValueError(f"{len(samples)} targets for {design.n_samples} samples")

    @property
    def local(self):
        return self

    @property
    def n_samples(self):
        return self.design.n_samples

    @property
    def n_features(self):
        return self.design.n_features

    @property
    def n_passes(self):
        return self.design.n_passes

    @property
    def n_entries(self):
        return self.design.n_entries

    @property
    def is_sparse(self):
        return self.design.is_sparse

    @property
    def is_mostly_zero(self):
        return self.design.is_mostly_zero

    @property
    def has_offset(self):
        return self.samples.offset is not None

    @property
    def has_labels(self):
        return self.samples.has_labels

    @property
    def least_weight(self):
        return self.samples.least_weight

    @property
    def mean_target(self):
        return self.samples.mean_target

    def moments(self):
        return self.design.moments(self.samples.weight)

    def gram(self, center):
        return self.design.gram(self.samples.weight_or_ones, center)

    def take(self, rows):
        return type(self)(self.design.take(rows), self.samples.take(rows))

    def take_from(self, handle, rows):
        """Passes over a copy of these rows (m,), whose logits begin with those at a handle: coefficients count from
        there.
        """
        samples = self.samples.take(rows).with_offset(handle.logits[rows])
        return type(self)(self.design.take(rows), samples)

    def over(self, Design design):
        """The same samples over another matrix."""
        return type(self)(design, self.samples)
