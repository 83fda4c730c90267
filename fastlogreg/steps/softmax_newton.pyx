"""Newton's method on a stream of samples of several classes, a block at a time."""

import copy

import numpy as np

from libc.math cimport INFINITY

from fastlogreg.data.rows cimport RowBlock
from fastlogreg.kernels.dispatch cimport active_kernels, block_kernels, design_view
from fastlogreg.runtime.blas cimport dsymv, dtrsv
from fastlogreg.steps.base cimport MAX_EXACT_WIDTH, Steps
from fastlogreg.steps.newton cimport STALE, TRUSTED_MOVE, factorize, move_origin

from fastlogreg.curvature.drawn_rows import drawn_rows
from fastlogreg.data.rows import writable
from fastlogreg.steps.newton import from_small_curvature, small_curvature
from fastlogreg.steps.origin import Origin
from fastlogreg.steps.scout import Scout
from fastlogreg.steps.softmax_diagonal import SoftmaxDiagonalSteps
from fastlogreg.steps.classes import centred, coef_of_rows, labels, padded_intercept, rows_of_features

# Rows of a block, or twice as many as columns if that is more: enough to bear the cost of the products with the
# curvature of the samples before.
cdef Py_ssize_t MIN_NEWTON_ROWS = 512
# Where rows have more than 128 entries on average, the curvature is summed over a part of the rows, so that its sum
# takes about as long as the products of the steps.
cdef Py_ssize_t FEW_ENTRIES = 128
# A block is done when a Newton step gains no more than this share of its loss; whatever is left adds up over blocks.
cdef double ENOUGH = 1e-3
cdef Py_ssize_t MAX_NEWTON_STEPS = 8
# Conjugate gradients solve for a step until the residual has fallen to three tenths, or for ten products.
cdef double ACCURACY = 0.3
cdef Py_ssize_t MAX_PRODUCTS = 10
# Halvings of a step that does not descend, at most.
cdef Py_ssize_t MAX_HALVINGS = 10


cdef class SoftmaxNewtonSteps(Steps):
    """Newton's method on a stream, a block at a time: the block's own loss, and a quadratic model of all before it.

    With w' the coefficients before the block, and D the Hessian's diagonal blocks, one for each class, times
    K / (K - 1) and summed over all samples before (each at the coefficients that its block ended with), the block's
    coefficients minimise

        sum_i s_i L_i(w) + alpha / 2 sum_i s_i |w|^2 + 1/2 (w - w')' (D + alpha T) (w - w')

    where i runs over the block and T is the weight of the samples before. They are found by Newton steps with conjugate
    gradients, preconditioned by the inverse of D. The loss is the block's own and not its model, so no step can go
    astray, and a sample's curvature is that at coefficients which know the sample. Units and origins of the columns do
    not matter.
    Coefficients that sum to zero over the classes are moved by ``diag(p) - p p'`` as by K / (K - 1) times its diagonal
    where all probabilities are the same, or there are two classes; elsewhere D is a model.

    Parameters
    ----------
    coef : ndarray of shape (K, n_features)
    intercept : ndarray of shape (K,)
    sparse : bool
    alpha : float
        L2 penalty of the mean objective.
    fit_intercept : bool

    Attributes
    ----------
    targets : ndarray of shape (n, K) or None
        Where samples have target probabilities, these; `target` then numbers their rows.
    """

    cdef readonly double alpha
    cdef readonly bint fit_intercept
    cdef readonly Py_ssize_t n_classes
    cdef public object targets
    cdef public object coef
    cdef public object curvature
    cdef public object factor
    cdef public object scale
    cdef public object origin
    cdef object _scout
    cdef bint _shares_curvature
    cdef public double weight
    cdef public double curvature_weight
    cdef public double factor_weight
    cdef object _ridge
    cdef object _padding
    cdef object _zeros
    cdef readonly bint warm

    def __init__(self, coef, intercept, bint sparse, double alpha, bint fit_intercept):
        n_classes, n_features = coef.shape
        self.n_classes, self.alpha, self.fit_intercept = n_classes, alpha, fit_intercept
        self.rows_a_step = max(MIN_NEWTON_ROWS, 2 * n_features)
        self.block = RowBlock(self.rows_a_step, n_features, sparse, fit_intercept, False)
        size = self.block.width
        self.coef = rows_of_features(coef, size)
        self.warm = np.any(coef)
        if fit_intercept:
            self.coef[n_features, :n_classes] = intercept
        self.coef = centred(self.coef, n_classes)
        self.curvature, self.factor = np.zeros((2, n_classes, size, size))
        self.scale = np.ones((n_classes, size))
        self.origin = Origin(n_features) if fit_intercept else None
        self._ridge = np.zeros((size, 1))
        self._ridge[:n_features] = alpha
        # the intercepts that are not fitted
        self._padding = padded_intercept(np.zeros(n_classes) if fit_intercept else intercept)
        self._zeros = np.zeros_like(self._padding)

    def begin_stream(self):
        if self.weight == 0.0 and self.block.count == 0 and self.block.width > MAX_EXACT_WIDTH and self._scout is None:
            self._scout = Scout(SoftmaxDiagonalSteps(*self._solution(), self.alpha, 0.0, self.fit_intercept))

    cdef Steps _fork(self):
        cdef SoftmaxNewtonSteps other = SoftmaxNewtonSteps.__new__(SoftmaxNewtonSteps)
        other.alpha, other.fit_intercept, other.n_classes = self.alpha, self.fit_intercept, self.n_classes
        other.warm, other.targets, other.coef = self.warm, self.targets, self.coef  # which steps replace
        other.origin, other._scout = copy.copy(self.origin), copy.copy(self._scout)
        other.curvature, other.factor, other.scale = self.curvature, self.factor, self.scale
        other._shares_curvature = True
        other.weight, other.curvature_weight, other.factor_weight = (
            self.weight, self.curvature_weight, self.factor_weight)
        other._ridge, other._padding, other._zeros = self._ridge, self._padding, self._zeros
        return other

    def _snapshot(self):
        arrays = self.coef, self.curvature, self.factor, self.scale, self._padding, self.origin
        scout = None if self._scout is None else copy.copy(self._scout)
        numbers = (scout, self.weight, self.curvature_weight, self.factor_weight, self.loss_sum, self.penalty_sum,
                   self.count)
        return _restored_newton_steps, (self.n_classes, self.alpha, self.fit_intercept, self.block, arrays, numbers)

    cdef _take_steps(self):
        cdef RowBlock block = self.block
        cdef double block_weight = np.asarray(block._weight[:block.count]).sum()
        if block_weight == 0.0:
            return
        if self._shares_curvature:
            self.curvature, self._shares_curvature = self.curvature.copy(), False
        cdef double of_scout = INFINITY if self._scout is None else self._scout.follow(block)
        cdef bint is_first = self.weight == 0.0
        cdef double before = self.loss_sum
        self.count += block_weight
        self.penalty_sum += self._penalty(block_weight, self.coef)
        if self.fit_intercept:
            self._follow(self._centre(self.origin))
        with np.errstate(over="ignore", invalid="ignore"):  # the caller looks at the solution
            self._take_block(block_weight)
        if not is_first and self.loss_sum - before <= of_scout:
            self._scout = None
        if self._scout is not None:
            self._scout.end_block()

    cdef _follow(self, shift):
        """Go on in coordinates whose origin was moved by `shift` (d,), or None: logits stay what they are."""
        cdef Py_ssize_t d = self.block.n_features
        if shift is None:
            return
        self.coef = self.coef.copy()
        self.coef[d] += shift @ self.coef[:d]
        for gram in self.curvature:
            move_origin(gram, shift)
        if self.factor_weight:
            self._factorize(self.weight)

    cdef double _penalty(self, double weight, coef):
        return 0.5 * weight * float(np.vdot(self._ridge * coef, coef))

    cdef _change_penalty(self, double alpha):
        """Move to the minimum of the samples' quadratic models with the new penalty."""
        cdef double change = alpha - self.alpha
        self.alpha, self._ridge = alpha, np.zeros_like(self._ridge)
        self._ridge[:self.block.n_features] = alpha
        if self.curvature_weight == 0.0:
            return
        gradient = np.zeros_like(self.coef)
        gradient[:self.block.n_features] = change * self.weight * self.coef[:self.block.n_features]
        self._factorize(self.weight)
        self.coef = centred(self.coef - self._solve(gradient), self.n_classes)

    cdef _provisional(self):
        """Where a step by the rows that wait leads, with the curvature of all before them; where the scout is, if there
        is none yet, or it predicts these rows better. Where coefficients were given, and no curvature, theirs is taken.
        """
        if self.curvature_weight == 0.0 and self.weight > 0.0:
            return Steps._provisional(self)
        cdef double weight = self.block.weight[:self.block.count].sum(), move
        cdef double of_scout = INFINITY if self._scout is None else self._scout.follow(self.block)
        cdef Py_ssize_t d = self.block.n_features
        if self.factor_weight == 0.0 and self.curvature.any():
            self._factorize(self.weight)
        if weight == 0.0 or self.factor_weight == 0.0:
            return self._solution()
        coef = self._from_zero(self.coef)  # as the rows that wait are
        loss, residual = self._loss(self._logits(coef, self._padding))
        if of_scout < loss:
            return self._scout.solution()
        gradient = self._gradient(residual) + weight * self._ridge * coef
        if self.fit_intercept:
            gradient[:d] -= np.outer(self.origin.value, gradient[d])
        step = self.factor_weight / (self.weight + weight) * self._solve(gradient)
        step = self._from_zero(centred(step, self.n_classes))
        move = float(np.abs(self._logits(step, self._zeros)).max())
        return self._split(coef - min(1.0, TRUSTED_MOVE / max(move, TRUSTED_MOVE)) * step)

    cdef _take_block(self, double block_weight):
        start, coef, past = self.coef, self.coef, np.zeros_like(self.coef)
        logits = self._logits(coef, self._padding)
        if self.factor_weight == 0.0:
            self._begin_curvature(logits, block_weight)
        loss, residual = self._loss(logits)
        self.loss_sum += loss
        value, enough = loss + self._penalty(block_weight, coef), ENOUGH * loss
        for _ in range(MAX_NEWTON_STEPS):
            gradient = self._gradient(residual) + block_weight * self._ridge * coef + past
            step, moved, past_moved = self._direction(gradient, self._softmax(logits), block_weight)
            if not np.isfinite(step).all():
                coef = np.full_like(coef, np.nan)  # which tells the caller
                break
            length = 1.0
            for _ in range(MAX_HALVINGS):
                next_coef, next_past = coef - length * step, past - length * past_moved
                next_logits = logits - length * moved
                loss, residual = self._loss(next_logits)
                next_value = loss + self._penalty(block_weight, next_coef)
                next_value += 0.5 * float(np.vdot(next_coef - start, next_past))
                if next_value <= value:
                    break
                length *= 0.5
            else:
                break
            gain, value = value - next_value, next_value
            coef, past, logits = next_coef, next_past, next_logits
            if not gain > enough:
                break
        self.coef = centred(coef, self.n_classes)
        self._learn_curvature(self._softmax(logits), block_weight)
        if self.weight >= STALE * self.factor_weight or self.weight == block_weight:
            self._factorize(self.weight)

    cdef _begin_curvature(self, logits, double block_weight):
        """The inverse that conjugate gradients need to begin with: from the block's curvature, which also stands for
        that of samples before it, where there were some and theirs is not known.
        """
        if self.curvature.any():
            self._factorize(self.weight)
            return
        self._add_curvature(self._softmax(logits))
        self._factorize(block_weight)
        self.curvature *= self.weight / block_weight

    cdef _learn_curvature(self, prob, double block_weight):
        """Add the block's curvature to that of the samples before, which is known of some of them, or all."""
        cdef double share = self.curvature_weight / self.weight if self.weight else 1.0
        if share != 1.0:
            self.curvature *= share
        self._add_curvature(prob)
        self.weight += block_weight
        self.curvature_weight += block_weight
        if share != 1.0:
            self.curvature *= self.weight / self.curvature_weight

    cdef _direction(self, gradient, prob, double block_weight):
        """The Newton step, with what it moves the block's logits by, and its product with the model of the past."""
        step, moved, past_moved = np.zeros_like(gradient), np.zeros_like(prob), np.zeros_like(gradient)
        residual = gradient
        search = solved = self._solve(residual)
        product = float(np.vdot(residual, solved))
        enough = ACCURACY**2 * product
        for _ in range(MAX_PRODUCTS):
            of_rows, of_past = self._logits(search, self._zeros), self._past_product(search)
            curved = self._gradient(self._softmax_product(prob, of_rows)) + block_weight * self._ridge * search
            curved += of_past
            curvature = float(np.vdot(search, curved))
            if curvature <= 0.0:
                break
            length = product / curvature
            step += length * search
            moved += length * of_rows
            past_moved += length * of_past
            residual = residual - length * curved
            solved = self._solve(residual)
            previous, product = product, float(np.vdot(residual, solved))
            if not product > enough:
                break
            search = solved + product / previous * search
        return step, moved, past_moved

    cdef _logits(self, const double[:, ::1] coef, const double[::1] intercept):
        """Of the block's rows (m, width)."""
        cdef RowBlock block = self.block
        cdef design_view view = block.view()
        cdef double[:, ::1] logits = np.empty((block.count, coef.shape[1]))
        with nogil:
            block.kernels().class_logits(&view, 0, block.count, coef.shape[1], &coef[0, 0], &intercept[0],
                                         &logits[0, 0])
        return logits.base

    cdef _gradient(self, const double[:, ::1] residual):
        cdef RowBlock block = self.block
        cdef design_view view = block.view()
        cdef double[:, ::1] gradient = np.zeros_like(self.coef)
        with nogil:
            block.kernels().add_class_gradient(&view, 0, block.count, residual.shape[1], &residual[0, 0],
                                               &gradient[0, 0])
        return gradient.base

    cdef _loss(self, logits):
        """The block's loss, and its residuals."""
        cdef const block_kernels *kernels = active_kernels()
        cdef RowBlock block = self.block
        cdef double[:, ::1] residual = logits.copy()
        cdef Py_ssize_t[::1] label = labels(block)
        cdef double[:, ::1] targets = None if self.targets is None else self.targets[label]
        cdef double loss
        with nogil:
            loss = kernels.softmax_loss(
                block.count, residual.shape[1], self.n_classes, &label[0] if targets is None else NULL,
                NULL if targets is None else &targets[0, 0], &block._weight[0], &residual[0, 0])
        return loss, residual.base

    cdef _softmax(self, logits):
        cdef double[:, ::1] prob = logits.copy()
        with nogil:
            active_kernels().softmax(prob.shape[0], prob.shape[1], &prob[0, 0])
        return prob.base

    cdef _softmax_product(self, const double[:, ::1] prob, values):
        cdef double[:, ::1] product = values.copy()
        with nogil:
            active_kernels().softmax_product(prob.shape[0], prob.shape[1], &prob[0, 0], &self.block._weight[0],
                                             &product[0, 0])
        return product.base

    cdef _past_product(self, double[:, ::1] rows):
        """(D + alpha T) times rows of features."""
        product = self.weight * self._ridge * rows
        cdef double[:, ::1] out = product
        cdef double[:, :, ::1] curvature = self.curvature
        cdef int size = <int>rows.shape[0], width = <int>rows.shape[1]
        cdef double one = 1.0
        cdef Py_ssize_t k
        if self.weight:
            with nogil:
                for k in range(self.n_classes):  # the upper triangle, as BLAS reads it
                    dsymv(b"L", &size, &one, &curvature[k, 0, 0], &size, &rows[0, k], &width, &one, &out[0, k], &width)
        return product

    cdef _solve(self, rows):
        """The inverse of the last factor's D + alpha T times rows of features."""
        solved = np.zeros_like(rows)
        right_sides = self.scale * rows.T[:self.n_classes]
        cdef double[:, ::1] x = right_sides
        cdef double[:, :, ::1] factor = self.factor
        cdef int size = <int>x.shape[1], one = 1
        cdef Py_ssize_t k
        with nogil:
            for k in range(self.n_classes):  # dpotrs would copy the factor
                dtrsv(b"L", b"N", b"N", &size, &factor[k, 0, 0], &size, &x[k, 0], &one)
                dtrsv(b"L", b"T", b"N", &size, &factor[k, 0, 0], &size, &x[k, 0], &one)
        solved[:, :self.n_classes] = (self.scale * right_sides).T
        return solved

    cdef _factorize(self, double weight):
        """Factor the curvature of samples of that weight, scaled to a diagonal of ones."""
        cdef Py_ssize_t k
        diagonal = np.einsum("kjj->kj", self.curvature) + weight * self._ridge[:, 0]
        self.scale = 1.0 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
        self.factor = np.empty_like(self.factor)
        for k in range(self.n_classes):
            factorize(self.curvature[k], 1.0, self.scale[k], self.block.width, self.factor[k])
        self.factor_weight = weight

    cdef _add_curvature(self, prob):
        """Each class's ``K / (K - 1) Z' diag(weight prob (1 - prob)) Z`` of the block, in the upper triangle."""
        cdef RowBlock block = self.block
        cdef Py_ssize_t m = block.count, k
        cdef double coupling = self.n_classes / (self.n_classes - 1.0)
        cdef double[:, :, ::1] gram = self.curvature
        entries = block.starts[m] / m if block.sparse else block.width
        for k in range(self.n_classes):
            curvature = coupling * prob[:, k] * (1.0 - prob[:, k]) * block.weight[:m]
            drawn, weights = drawn_rows(curvature, max(1, int(m * FEW_ENTRIES / max(entries, FEW_ENTRIES))))
            block.add_gram(drawn, weights, &gram[k, 0, 0])

    def settle(self):
        """The curvatures are reduced to two numbers for each coefficient, which weigh as much as a sample for each:
        enough to bear the coefficients at once, and little beside the curvature of the samples to come.
        """
        Steps.settle(self)
        d = self.block.n_features
        self.curvature = np.stack([small_curvature(one, d, self.fit_intercept) for one in self.curvature])
        self.curvature_weight = min(self.curvature_weight, self.block.width)
        self.factor, self.scale, self.factor_weight = None, None, 0.0

    def go_on(self, settings, n_seen, coef=None, intercept=None):
        """Go on with another penalty, of the samples so far too, or from given coefficients: those count as what the
        samples so far led to, or a block of them where there were none.
        """
        if settings["alpha"] != self.alpha:
            self._change_penalty(settings["alpha"])
            if self._scout is not None:
                self._scout.go_on(settings)
        if coef is not None:
            self.flush()
            self.go_on_from(coef, intercept, self.weight or float(self.rows_a_step))
        return self

    def go_on_from(self, coef, intercept, double weight):
        """Go on from coefficients that samples of that weight, those of the steps so far among them, led to."""
        self.coef = rows_of_features(coef, self.block.width)
        if self.fit_intercept:
            self.coef[self.block.n_features, :self.n_classes] = intercept + coef @ self.origin.value
        else:
            self._padding = padded_intercept(intercept)
        self.coef = centred(self.coef, self.n_classes)
        if self.weight and weight != self.weight:
            self.curvature = self.curvature * (weight / self.weight)
        self.weight, self._scout = weight, None

    def _solution(self):
        if self._scout is not None:
            return self._scout.solution()
        return self._split(self._from_zero(self.coef))

    cdef _from_zero(self, coef):
        """Rows of features for columns that are measured from zero, in place of the stream's origin."""
        cdef Py_ssize_t d = self.block.n_features
        if not self.fit_intercept:
            return coef
        moved = coef.copy()
        moved[d] -= self.origin.value @ coef[:d]
        return moved

    cdef _split(self, coef):
        """Coefficients (K, d) and intercepts (K,) of rows of features."""
        d, n_classes = self.block.n_features, self.n_classes
        intercept = (coef[d] if self.fit_intercept else self._padding)[:n_classes].copy()
        return coef_of_rows(coef[:d], n_classes), intercept


def _restored_newton_steps(n_classes, alpha, fit_intercept, block, arrays, numbers):
    start = np.zeros((n_classes, block.n_features))
    cdef SoftmaxNewtonSteps steps = SoftmaxNewtonSteps(start, start[:, 0], block.sparse, alpha, fit_intercept)
    steps.block = block
    *arrays, steps.origin = arrays
    steps.coef, curvature, factor, scale, steps._padding = writable(arrays)
    if factor is None:  # settled
        steps.curvature = np.stack([from_small_curvature(small, block.n_features) for small in curvature])
    else:
        steps.curvature, steps.factor, steps.scale = curvature, factor, scale
    (steps._scout, steps.weight, steps.curvature_weight, steps.factor_weight, steps.loss_sum, steps.penalty_sum,
     steps.count) = numbers
    return steps
