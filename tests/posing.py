"""Objectives posed over a design matrix in memory, as tests want them: from plain arrays and one strength of L2."""

import numpy as np

from fastlogreg.data.passes import local_passes
from fastlogreg.data.samples import Samples
from fastlogreg.objectives.binary import BinaryObjective
from fastlogreg.objectives.softmax import SoftmaxObjective
from fastlogreg.penalties import Quadratic
from fastlogreg.solvers import problem


def passes(design, target, sample_weight=None, *, n_classes=2, offset=None):
    """The passes of samples with these targets (n,), or (n, K), over a design."""
    return local_passes(design, Samples(np.asarray(target), sample_weight, offset, n_classes))


def binary(design, target, *, sample_weight=None, l2=0.0, offset=None, **options):
    """The objective of two classes; options are those of `Objective`."""
    return BinaryObjective(passes(design, target, sample_weight, offset=offset), Quadratic(l2), **options)


def softmax(design, target, n_classes, *, sample_weight=None, l2=0.0, offset=None, **options):
    """The objective of several classes."""
    held = passes(design, target, sample_weight, n_classes=n_classes, offset=offset)
    return SoftmaxObjective(held, Quadratic(l2), **options)


def with_pilot(design, target, *, sample_weight=None, l2=0.0, fit_intercept=True):
    """The objective that the plan poses, with a pilot where one pays."""
    return problem(passes(design, target, sample_weight), Quadratic(l2), fit_intercept=fit_intercept)
