"""The inverse of a Hessian as it is known without a matrix: blocks of the classes, or a diagonal."""

from fastlogreg.curvature.class_blocks import ClassBlocks
from fastlogreg.curvature.factored import diagonal_inverse


class Preconditioner:
    """Approximate inverses of the Hessians of one objective.

    Parameters
    ----------
    objective : Objective
    """

    def __init__(self, objective):
        several_classes = objective.n_classes > 2 and objective.passes.local is not None
        # Blocks of fewer rows than columns have directions without curvature: without a penalty their inverse is huge.
        curved = objective.penalty.is_strict or objective.n_samples > objective.n_features
        self._blocks = ClassBlocks(objective) if several_classes and curved else None

    def at(self, hessian, point):
        """The function that applies the inverse at a point: gradient in."""
        return diagonal_inverse(hessian.mean_diagonal()) if self._blocks is None else self._blocks.at(point)
