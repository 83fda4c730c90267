"""The Hessian of sparse data as a matrix, where X has many columns and most are rare: products, and a near inverse.

See `fastlogreg.data.sparse_gram` for what is stored. Numeric columns and frequent categories depend on one another, and
rare categories on them and on the other groups of rare ones. The near inverse is that of a matrix which has the
Hessian's block of the fullest columns, the Hessian's entries that link these to the rare columns, and for the rare
columns among themselves ``(D + L) D^-1 (D + L')``, with their diagonal D and lower triangle L: a symmetric Gauss-Seidel
sweep. It exceeds the Hessian by ``L D^-1 L'``, which is positive, so what eliminating the rare columns leaves of the
block is positive, too.
"""

import numpy as np

from fastlogreg.curvature.factored import FactoredHessian


class SparseHessian:
    """The Hessian of an objective of one output at a point, in the objective's parameters.

    Parameters
    ----------
    objective : Objective
    gram : SparseGram
        Summed anew, so that it serves one Hessian at a time.
    point : Point
    rest : FactoredHessian, default=None
        That of a Hessian at a point near by, to be used again.

    Attributes
    ----------
    rest : FactoredHessian
        The Hessian's block of the fullest columns, the rare ones eliminated from it.
    """

    def __init__(self, objective, gram, point, rest=None):
        self.objective, self._gram = objective, gram
        factor = 1.0 / objective.total_weight
        d, columns, rare = objective.n_features, gram.columns, gram.rare
        ridge = objective.penalty.curvature
        coordinates = objective.coordinates.of_columns(columns)
        self._center = coordinates.center
        gram.sum(factor * objective.hessian(point).of_loss.curvature, self._center)
        self._places = np.concatenate([columns, np.arange(d, d + objective.fit_intercept)])
        self._scale, self._rare_center = objective.inverse_scale[rare], objective.center[rare]
        diagonal = gram.squares + objective.penalty_of_coef.curvatures(d)[rare]
        self._diagonal = np.where(diagonal > 0, diagonal, 1.0)
        if rest is None:
            left = gram.block - gram.swept_links(self._diagonal)
            rest = FactoredHessian(coordinates.gram(left, 1.0, ridge[self._places]))
        self.rest = rest

    def dot(self, direction):
        """``H direction``. No pass over X."""
        objective, gram, center = self.objective, self._gram, self._center
        (coef,), intercept = objective.to_coef(direction)
        of_block = np.append(coef[gram.columns], intercept)
        of_rare = coef[gram.rare]
        centered = of_block.copy()
        centered[-1] += center @ of_block[:-1]
        block = gram.block @ centered
        block[:-1] += center * block[-1]
        rare = gram.squares * of_rare
        gram.add_product(of_rare, of_block, rare, block)
        product = np.empty((1, coef.size))
        product[0, gram.columns], product[0, gram.rare] = block[:-1], rare
        objective.count(gram.n_stored / objective.passes.n_entries)
        result = objective.coordinates.gradient(product, block[-1:], 1.0)
        objective.penalty.add_product(direction, result)
        return result

    def inverse(self, gradient):
        """An approximate ``H^-1 gradient``, symmetric and positive.

        Meanwhile rare columns are not centered, as the Gram matrix has them about zero.
        """
        objective, gram, center = self.objective, self._gram, self._center
        coordinates = objective.coordinates
        n_block = len(gram.columns)
        scale = coordinates.scale[self._places]
        of_block = gradient[self._places]
        rare = np.divide(gradient[gram.rare], self._scale, out=np.zeros(len(gram.rare)), where=self._scale > 0)
        if objective.fit_intercept:
            rare += self._rare_center * (of_block[-1] / scale[-1])
        gram.sweep(rare, self._diagonal)
        sums = gram.links_of(rare)
        sums[:-1] -= center * sums[-1]
        direction, _ = self.rest.solve(scale * sums[: len(scale)] - of_block)
        coef = np.zeros(n_block + 1)
        coef[: len(scale)] = scale * direction
        coef[-1] -= center @ coef[:-1]
        lost = gram.links_with(coef)
        gram.sweep(lost, self._diagonal)
        rare -= lost
        result = np.empty_like(gradient)
        result[self._places] = direction
        if objective.fit_intercept:
            result[-1] += self._rare_center @ rare / scale[-1]
        result[gram.rare] = np.divide(rare, self._scale, out=np.zeros_like(rare), where=self._scale > 0)
        return result
