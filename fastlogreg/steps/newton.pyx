"""Newton steps on a stream, a block of samples at a time."""

import copy

import numpy as np

from libc.math cimport INFINITY, fabs, tanh
from libc.string cimport memset

from fastlogreg.runtime.blas cimport dpotrf, dtrsv
from fastlogreg.kernels.dispatch cimport active_kernels, block_kernels, design_view, layout_kernels, targets
from fastlogreg.data.rows cimport RowBlock
from fastlogreg.steps.base cimport MAX_EXACT_WIDTH, Steps

from fastlogreg.data.rows import writable
from fastlogreg.steps.diagonal import DiagonalSteps
from fastlogreg.steps.origin import Origin
from fastlogreg.steps.scout import Scout

# Rows of a block, or as many as columns if there are more. Its step is made at the coefficients before it, so a block
# is to be small beside the samples that determine these, but large enough that its rank update runs near the speed of
# the machine.
cdef Py_ssize_t MIN_NEWTON_ROWS = 256
# Once curvature is summed over 64 samples for each parameter, that of one block in eight is enough. The relative error
# of the curvature is about the inverse square root of the 64. What one pass then leaves above the minimum is a third
# more than with four times as many samples, for a fifth less time.
cdef Py_ssize_t ROWS_A_PARAMETER = 64
cdef Py_ssize_t SPARSE_CURVATURE = 8
# The curvature of at least 32 blocks is summed, as the first coefficients are far off, and their curvature with them.
cdef Py_ssize_t FIRST_BLOCKS = 32
# The curvature is factored anew when the weight of the samples has grown by this factor.
cdef double STALE = 1.5
# In nats. A step with an old factor may move a logit of its block by one at most, or else the curvature is factored
# anew. A step that would move a logit by more than 16 is shortened to that.
cdef double TRUSTED_MOVE = 1.0
cdef double LARGEST_MOVE = 16.0
# Samples whose logit is more than this on the wrong side take the curvature of the quadratic bound.
cdef double FAR = 4.0
# Added to a diagonal of ones before it is factored, as columns may depend on one another.
cdef double LOADING = 1e-9


cdef factorize(curvature, double share, scale, Py_ssize_t n, double[:, ::1] factor):
    """Factor the leading n rows and columns of ``share * curvature``, scaled to a diagonal of ones.

    More is added to the diagonal until that is positive; where nothing makes it so, the factor is the identity.
    """
    cdef int size = <int>n, stride = <int>factor.shape[1], info = 1
    cdef double loading = LOADING
    while n and info != 0 and loading < 1.0:
        np.multiply(curvature, share * scale[:, np.newaxis], out=factor.base)
        factor.base[:] *= scale
        factor.base[np.arange(n), np.arange(n)] = 1.0 + loading
        with nogil:
            dpotrf(b"L", &size, &factor[0, 0], &stride, &info)  # the upper triangle, as LAPACK reads it
        loading *= 100.0
    if info:
        factor.base[:] = np.eye(len(scale))


cdef move_origin(gram, shift):
    """Z' diag(weight) Z in the upper triangle (d + 1, d + 1), of rows of d columns and a one, after `shift` (d,) was
    taken from the columns.
    """
    d = len(shift)
    moved = np.flatnonzero(shift)
    sums, total, of_moved = gram[:d, d].copy(), gram[d, d], shift[moved]
    for j, step in zip(moved, of_moved, strict=True):
        gram[j, j:d] -= step * sums[j:]
        gram[:j + 1, j] -= step * sums[:j + 1]
        gram[:d, d][j] -= step * total
    gram[np.ix_(moved, moved)] += total * np.outer(of_moved, of_moved)


def small_curvature(curvature, Py_ssize_t d, bint fit_intercept):
    """What is kept of a curvature (w, w) where d^2 numbers are too many: its diagonal and its column of ones (2, w)."""
    ones = curvature[:, d] if fit_intercept else np.zeros(len(curvature))
    return np.stack([np.diagonal(curvature), ones])


def from_small_curvature(small, Py_ssize_t d):
    """The curvature of columns that depend on one another by their means alone, which are kept."""
    diagonal, ones = small
    curvature = np.outer(ones, ones) / (ones[d] if d < len(ones) and ones[d] > 0 else 1.0)
    np.fill_diagonal(curvature, diagonal)
    return curvature


cdef class NewtonSteps(Steps):
    """Newton steps on a stream, a block at a time: the mean curvature so far, and the gradient of the block.

    With H_k the curvature of all samples so far (each at the coefficients of its time), alpha times their weight on its
    diagonal, and g_k the gradient of block k at the coefficients before it,

        w <- w - H_k^-1 g_k

    is the recursion that minimises the sum of the blocks' quadratic models, exactly so where H_k holds them all; it is
    as efficient as the minimiser over all samples at once (Bercu, Godichon and Portier 2020). Units and origins of the
    columns do not matter. Far on the wrong side of the separating plane the curvature vanishes and a step would jump;
    there that of the quadratic bound is taken (Jaakkola and Jordan 2000), (sigma(|u|) - 1/2) / |u|.

    Parameters
    ----------
    coef : ndarray of shape (n_features,)
    intercept : float
    sparse : bool
    alpha : float
        L2 penalty of the mean objective.
    fit_intercept : bool
    """

    cdef readonly double alpha
    cdef readonly bint fit_intercept
    cdef public object coef
    cdef public object curvature
    cdef public object factor
    cdef public object scale
    cdef public object origin
    cdef object _scout
    cdef bint _shares_curvature
    cdef readonly bint warm
    cdef double _fixed_intercept
    cdef public double weight
    cdef public double curvature_weight
    cdef public double factor_weight
    cdef public Py_ssize_t n_blocks
    cdef double[::1] _residual
    cdef double[::1] _curvatures
    cdef double[::1] _moves
    cdef double[::1] _gradient
    cdef double[::1] _newton_step

    def __init__(self, coef, double intercept, bint sparse, double alpha, bint fit_intercept):
        n_features = len(coef)
        self.rows_a_step = max(MIN_NEWTON_ROWS, n_features)
        self.alpha, self.fit_intercept = alpha, fit_intercept
        self.block = RowBlock(self.rows_a_step, n_features, sparse, fit_intercept, False)
        self.coef = np.zeros(self.block.width)
        self.coef[:n_features] = coef
        self.warm = np.any(coef)
        if fit_intercept:
            self.coef[n_features] = intercept
        self._fixed_intercept = intercept
        self.curvature, self.factor = np.zeros((2, self.block.width, self.block.width))
        self.scale = np.ones(self.block.width)
        self.origin = Origin(n_features) if fit_intercept else None
        # A number for each row of a block, and for each coefficient.
        self._residual, self._curvatures, self._moves = np.zeros((3, self.block.capacity))
        self._gradient, self._newton_step = np.zeros((2, self.block.width))

    def begin_stream(self):
        if self.n_blocks == 0 and self.block.count == 0 and self.block.width > MAX_EXACT_WIDTH and self._scout is None:
            self._scout = Scout(DiagonalSteps(*self._solution(), self.alpha, 0.0, self.fit_intercept))

    cdef Steps _fork(self):
        cdef NewtonSteps other = NewtonSteps.__new__(NewtonSteps)
        other.alpha, other.fit_intercept, other.warm = self.alpha, self.fit_intercept, self.warm
        other._fixed_intercept = self._fixed_intercept
        other.coef, other.origin, other._scout = self.coef.copy(), copy.copy(self.origin), copy.copy(self._scout)
        other.curvature, other.factor, other.scale = self.curvature, self.factor, self.scale
        other._shares_curvature = True
        other.weight, other.curvature_weight, other.factor_weight, other.n_blocks = (
            self.weight, self.curvature_weight, self.factor_weight, self.n_blocks)
        other._residual, other._curvatures, other._moves = self._residual, self._curvatures, self._moves
        other._gradient, other._newton_step = self._gradient, self._newton_step
        return other

    def _snapshot(self):
        arrays = self.coef, self.curvature, self.factor, self.scale, self.origin
        scout = None if self._scout is None else copy.copy(self._scout)
        numbers = (scout, self._fixed_intercept, self.weight, self.curvature_weight, self.factor_weight, self.n_blocks,
                   self.loss_sum, self.penalty_sum, self.count)
        return _restored_newton, (self.alpha, self.fit_intercept, self.block, arrays, numbers)

    cdef _take_steps(self):
        cdef RowBlock block = self.block
        cdef double block_weight = 0.0
        cdef Py_ssize_t i
        for i in range(block.count):
            block_weight += block._weight[i]
        if block_weight == 0.0:
            return
        if self._shares_curvature:
            self.curvature, self._shares_curvature = self.curvature.copy(), False
        cdef double of_scout = INFINITY if self._scout is None else self._scout.follow(block), loss
        self.count += block_weight
        self.penalty_sum += block_weight * 0.5 * self.alpha * self._square()
        self.weight += block_weight
        if self.fit_intercept:
            self._follow(self._centre(self.origin))
        if self.n_blocks == 0:
            loss = self._first_block(block_weight)
        else:
            loss = self._next_block(block_weight)
            if loss <= of_scout:
                self._scout = None
        if self._scout is not None:
            self._scout.end_block()
        self.loss_sum += loss
        self.n_blocks += 1

    cdef _follow(self, shift):
        """Go on in coordinates whose origin was moved by `shift` (d,), or None: logits stay what they are."""
        cdef Py_ssize_t d = self.block.n_features
        if shift is None:
            return
        self.coef[d] += shift @ self.coef[:d]
        move_origin(self.curvature, shift)
        self.factor_weight = 0.0

    def settle(self):
        """The curvature is reduced to two numbers for each column, which weigh as much as a sample for each: enough to
        bear the coefficients at once, and little beside the curvature of the samples to come.
        """
        Steps.settle(self)
        if self.curvature_weight > self.block.width:
            self.curvature = self.curvature * (self.block.width / self.curvature_weight)
            self.curvature_weight = self.block.width
        self.curvature = small_curvature(self.curvature, self.block.n_features, self.fit_intercept)
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

    def go_on_from(self, coef, double intercept, double weight):
        """Go on from coefficients that samples of that weight, those of the steps so far among them, led to."""
        d = self.block.n_features
        self.coef[:d] = coef
        if self.fit_intercept:
            self.coef[d] = intercept + self.origin.value @ coef
        self._fixed_intercept = intercept
        self.weight, self.n_blocks, self._scout = weight, max(self.n_blocks, 1), None

    cdef _change_penalty(self, double alpha):
        """Move to the minimum of the samples' quadratic models with the new penalty, by a Newton step."""
        cdef double change = alpha - self.alpha
        self.alpha = alpha
        if self.curvature_weight == 0.0:
            return
        gradient = np.zeros_like(self.coef)
        gradient[:self.block.n_features] = change * self.weight * self.coef[:self.block.n_features]
        self._factorize()
        self._solve(gradient)
        self._take_newton_step(1.0)

    cdef _provisional(self):
        """Where a step by the rows that wait leads, with the curvature of all before them; where the scout is, if there
        is none yet, or it predicts these rows better. Where coefficients were given, and no curvature, theirs is taken.
        """
        if self.curvature_weight == 0.0 and self.weight > 0.0:
            return Steps._provisional(self)
        cdef double weight = self.block.weight[:self.block.count].sum(), move, loss
        cdef double of_scout = INFINITY if self._scout is None else self._scout.follow(self.block)
        cdef Py_ssize_t d = self.block.n_features
        if self.factor_weight == 0.0 and self.curvature_weight > 0.0:
            self._factorize()
        if weight == 0.0 or self.factor_weight == 0.0:
            return self._solution()
        coef, moved = self.coef, self.coef.copy()
        if self.fit_intercept:  # rows that wait are measured from zero
            moved[d] -= self.origin.value @ coef[:d]
        self.coef = moved
        loss = self._block_gradient(weight)
        if of_scout < loss:
            self.coef = coef
            return self._scout.solution()
        gradient = np.asarray(self._gradient)
        if self.fit_intercept:
            gradient[:d] -= gradient[d] * self.origin.value
        self.weight += weight
        self._solve(self._gradient)
        self.weight -= weight
        step = np.asarray(self._newton_step)
        if self.fit_intercept:
            step[d] -= self.origin.value @ step[:d]
        move = self._largest_move()
        self._take_newton_step(1.0 if move <= TRUSTED_MOVE else TRUSTED_MOVE / move)
        self.coef = coef
        return moved[:d], float(moved[d]) if self.fit_intercept else self._fixed_intercept

    cdef double _first_block(self, double block_weight):
        """Newton steps for the block alone, until they are small; returns the loss before them."""
        cdef double move, loss, before = 0.0
        for repeat in range(5):
            loss = self._block_gradient(block_weight)
            if repeat == 0:
                before = loss
            self._only_curvature_of_block(block_weight)
            self._solve(self._gradient)
            move = self._largest_move()
            self._take_newton_step(min(1.0, LARGEST_MOVE / max(move, LARGEST_MOVE)))
            if not move > 0.3:
                break
        self._pass(self._gradient, bound=True)
        self._only_curvature_of_block(block_weight)
        return before

    cdef _only_curvature_of_block(self, double block_weight):
        """Take the curvature of the block's last pass in place of all before, and factor it."""
        self.curvature[:] = 0.0
        self._add_curvature(self._curvatures[:self.block.count])
        self.curvature_weight = block_weight
        self._factorize()

    cdef double _next_block(self, double block_weight):
        """A Newton step for the block; returns the loss before it."""
        cdef double move, loss = self._block_gradient(block_weight)
        cdef bint enough = self.curvature_weight >= ROWS_A_PARAMETER * self.block.width
        cdef bint known = enough and self.n_blocks >= FIRST_BLOCKS
        cdef bint summed = not known or self.n_blocks % SPARSE_CURVATURE == 0 or self.factor_weight == 0.0
        if summed:
            self._sum_curvature(block_weight)
            if self.weight >= STALE * self.factor_weight:
                self._factorize()
        self._solve(self._gradient)
        move = self._largest_move()
        if not move <= TRUSTED_MOVE and self.factor_weight < self.weight:
            if not summed:
                self._sum_curvature(block_weight)
            self._factorize()
            self._solve(self._gradient)
            move = self._largest_move()
        self._take_newton_step(1.0 if move <= LARGEST_MOVE else LARGEST_MOVE / move)
        return loss

    cdef _sum_curvature(self, double block_weight):
        """Add the curvature of the block's last pass."""
        self._add_curvature(self._curvatures[:self.block.count])
        self.curvature_weight += block_weight

    cdef double _block_gradient(self, double block_weight):
        """The gradient of the block and its share of the penalty; returns the block's loss."""
        cdef double[::1] coef = self.coef
        cdef Py_ssize_t j
        memset(&self._gradient[0], 0, self._gradient.shape[0] * sizeof(double))
        cdef double loss = self._pass(self._gradient, bound=True)
        for j in range(self.block.n_features):
            self._gradient[j] += self.alpha * block_weight * coef[j]
        return loss

    cdef double _pass(self, double[::1] gradient, bint bound):
        """Adds the block's gradient and sets its samples' curvatures, with `bound` those of the quadratic bound for
        samples far on the wrong side; returns the block's loss."""
        cdef RowBlock block = self.block
        cdef const block_kernels *kernels = active_kernels()
        cdef const layout_kernels *of_layout = block.kernels()
        cdef design_view view = block.view()
        cdef Py_ssize_t m = block.count, i
        cdef double intercept = 0.0 if self.fit_intercept else self._fixed_intercept, loss, u
        cdef double[::1] coef = self.coef
        cdef targets target = [&block._target[0], NULL]
        cdef double *logits = &block._logits[0]
        cdef double *residual = &self._residual[0]
        cdef double *curvature = &self._curvatures[0]
        with nogil:
            of_layout.logits(&view, 0, m, 1, &coef[0], &intercept, logits, m)
            loss = kernels.bce(m, logits, target, &block._weight[0], 1, NULL, residual, curvature).loss
            of_layout.add_gradient(&view, 0, m, 1, residual, m, &gradient[0])
            if bound:
                for i in range(m):
                    u = fabs(logits[i])
                    if u > FAR and fabs(residual[i]) > 0.5 * block._weight[i]:
                        curvature[i] = block._weight[i] * 0.5 * tanh(0.5 * u) / u
        return loss

    cdef _add_curvature(self, double[::1] weight):
        """``curvature += Z' diag(weight) Z`` of the block, in the upper triangle."""
        cdef double[:, ::1] gram = self.curvature
        self.block.add_gram(None, weight, &gram[0, 0])

    cdef _factorize(self):
        """Factor the curvature of all samples so far, estimated from those whose curvature was summed."""
        cdef double share = self.weight / self.curvature_weight if self.curvature_weight else 1.0
        diagonal = share * np.diagonal(self.curvature).copy()
        diagonal[:self.block.n_features] += self.alpha * self.weight
        scale = 1.0 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
        self.factor_weight, self.scale, self.factor = self.weight, scale, np.empty_like(self.factor)
        factorize(self.curvature, share, scale, self.block.n_features + self.fit_intercept, self.factor)

    cdef _solve(self, const double[::1] gradient):
        """Set the step ``H^-1 gradient``, with the curvature scaled to all samples so far."""
        cdef int size = <int>(self.block.n_features + self.fit_intercept), stride = <int>self.block.width, one = 1
        cdef double[:, ::1] factor = self.factor
        cdef double[::1] scale = self.scale, x = self._newton_step
        cdef double share = self.factor_weight / self.weight
        cdef Py_ssize_t j, width = x.shape[0]
        with nogil:
            for j in range(width):
                x[j] = scale[j] * gradient[j]
            if size:  # dpotrs would copy the factor
                dtrsv(b"L", b"N", b"N", &size, &factor[0, 0], &stride, &x[0], &one)
                dtrsv(b"L", b"T", b"N", &size, &factor[0, 0], &stride, &x[0], &one)
            for j in range(width):
                x[j] *= share * scale[j]

    cdef _take_newton_step(self, double length):
        cdef double[::1] coef = self.coef
        cdef Py_ssize_t j
        for j in range(coef.shape[0]):
            coef[j] -= length * self._newton_step[j]

    cdef double _largest_move(self):
        """The largest change of a logit of the block by the step."""
        cdef RowBlock block = self.block
        cdef design_view view = block.view()
        cdef double zero = 0.0, largest = 0.0
        cdef Py_ssize_t i
        block.kernels().logits(&view, 0, block.count, 1, &self._newton_step[0], &zero, &self._moves[0], block.count)
        for i in range(block.count):
            if not fabs(self._moves[i]) <= largest:
                largest = fabs(self._moves[i])
        return largest

    cdef double _square(self):
        cdef double[::1] coef = self.coef
        cdef double square = 0.0
        cdef Py_ssize_t j
        for j in range(self.block.n_features):
            square += coef[j] * coef[j]
        return square

    def _solution(self):
        if self._scout is not None:
            return self._scout.solution()
        d = self.block.n_features
        coef = self.coef[:d].copy()
        return coef, float(self.coef[d] - self.origin.value @ coef) if self.fit_intercept else self._fixed_intercept


def _restored_newton(alpha, fit_intercept, block, arrays, numbers):
    cdef NewtonSteps steps = NewtonSteps(np.zeros(block.n_features), 0.0, block.sparse, alpha, fit_intercept)
    steps.block = block
    *arrays, steps.origin = arrays
    steps.coef, curvature, factor, scale = writable(arrays)
    if factor is None:  # settled
        steps.curvature = from_small_curvature(curvature, block.n_features)
    else:
        steps.curvature, steps.factor, steps.scale = curvature, factor, scale
    (steps._scout, steps._fixed_intercept, steps.weight, steps.curvature_weight, steps.factor_weight, steps.n_blocks,
     steps.loss_sum, steps.penalty_sum, steps.count) = numbers
    return steps
