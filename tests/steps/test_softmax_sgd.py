"""Stochastic steps of several classes: plain twins, and what `test_sgd` does not test for two classes as well."""

import numpy as np
import pytest
import scipy.sparse as sp
import twins
import zoo
from sklearn.linear_model import SGDClassifier
from stochastic import (
    KINDS,
    assert_same,
    diagonal_twin,
    draw,
    fitted,
    gradient_twin,
    implicit_slopes,
    make_data,
    objective,
    optimum,
    settings_of,
    solution_of,
    sparse_data,
)

from fastlogreg import LogisticRegression, SGDLogisticRegression
from fastlogreg.steps import SoftmaxDiagonalSteps, SoftmaxGradientSteps, SoftmaxNewtonSteps


class TestTwins:
    @pytest.mark.parametrize("schedule", ["constant", "adaptive", "optimal", "invscaling"])
    @pytest.mark.parametrize("batch_size", [1, 7, 200])
    @pytest.mark.parametrize(("l1_ratio", "average"), [(0.0, 0), (0.0, 10), (0.3, 0), (1.0, 0), (0.3, 10), (1.0, 1)])
    @pytest.mark.parametrize("make", [make_data, sparse_data])
    def test_gradient_steps(self, isa, schedule, batch_size, l1_ratio, average, make):
        X, y = make(300, n_classes=11)
        rng = np.random.default_rng(0)
        weight, order = rng.uniform(0.5, 2, len(y)), rng.permutation(len(y)).astype(np.int32)
        settings = settings_of(schedule=schedule, l1_ratio=l1_ratio, average=average, batch_size=batch_size)
        zeros = np.zeros((11, X.shape[1])), np.zeros(11)
        steps = SoftmaxGradientSteps(*zeros, sp.issparse(X), settings)
        plain = X.toarray() if sp.issparse(X) else X
        expected = gradient_twin(plain, np.eye(11)[y], settings, order, weight)
        assert_same(solution_of(steps, X, y, weight, order), expected)

    @pytest.mark.parametrize("options", [{"fit_intercept": False}, {"alpha": 5.0, "eta0": 0.15}], ids=str)
    def test_gradient_steps_otherwise(self, options):
        X, y = sparse_data(n_classes=4)
        settings, order = settings_of(**options), np.arange(len(y), dtype=np.int32)
        steps = SoftmaxGradientSteps(np.zeros((4, 40)), np.zeros(4), True, settings)
        expected = gradient_twin(X.toarray(), np.eye(4)[y], settings, order, np.ones(len(y)))
        assert_same(solution_of(steps, X, y), expected)

    def test_mean_objective_of_an_epoch(self):
        """With a tiny rate, all samples are seen at the start."""
        X, y = make_data(n_classes=4)
        steps = SoftmaxGradientSteps(np.zeros((4, 7)), np.zeros(4), False, settings_of(eta0=1e-12))
        solution_of(steps, X, y)
        assert steps.loss_sum / steps.count == pytest.approx(np.log(4), rel=1e-9)

    # With little L2 a step may move a logit by thousands: the slopes must be exact.
    @pytest.mark.parametrize("alpha", [0.0, 1e-4, 1e-2, 0.1])
    @pytest.mark.parametrize("l1_ratio", [0.0, 0.3, 1.0])
    @pytest.mark.parametrize("soft", [False, True])
    def test_diagonal_steps(self, isa, alpha, l1_ratio, soft):
        X, y = sparse_data(n=100, n_classes=3)
        rng = np.random.default_rng(0)
        weight, target = rng.uniform(0.5, 2, len(y)), np.eye(3)[y]
        steps = SoftmaxDiagonalSteps(np.zeros((3, 40)), np.zeros(3), alpha, l1_ratio, True)
        if soft:
            target = steps.targets = rng.dirichlet(np.ones(3), len(y))
            y = np.arange(len(y))
        expected = diagonal_twin(X.toarray(), target, weight, alpha, l1_ratio)
        assert_same(solution_of(steps, X, y, weight), expected, rtol=1e-8)

    @pytest.mark.parametrize("label", [0, 1, 2])
    @pytest.mark.parametrize("reach", 10.0 ** np.arange(-4, 7, 2))
    def test_diagonal_steps_do_not_overshoot(self, isa, label, reach):
        """One sample of one column from given intercepts: its slopes are those at the logits it moves to."""
        for u in np.array([[0, 0, 0], [3, -2, 1], [20, 0, -10], [-8, 5, 5], [40, -40, 0]], dtype=float):
            steps = SoftmaxDiagonalSteps(np.zeros((3, 1)), u, 1.0, 0.0, False)
            solution_of(steps, sp.csr_matrix([[np.sqrt(reach)]]), [label])
            slopes = steps.models[0, 0, :3] / np.sqrt(reach)
            expected = implicit_slopes(u, np.full(3, reach), np.eye(3)[label], 1.0)
            np.testing.assert_allclose(slopes, expected, rtol=1e-7, atol=1e-8 * np.abs(expected).max())

    @pytest.mark.parametrize("make", [make_data, sparse_data])
    @pytest.mark.parametrize("fit_intercept", [False, True])
    def test_newton_steps(self, isa, make, fit_intercept):
        """After a block, its optimum; after two, that of the second and the first one's model."""
        X, y = make(n=1024, n_classes=3)
        d, alpha, weight = X.shape[1], 1e-2, np.random.default_rng(0).uniform(0.5, 2, 1024)
        steps = SoftmaxNewtonSteps(np.zeros((3, d)), np.zeros(3), sp.issparse(X), alpha, fit_intercept)
        first = solution_of(steps, X[:512], y[:512], weight[:512])
        plain = X.toarray() if sp.issparse(X) else X
        value = twins.softmax_value(plain[:512], np.eye(3)[y[:512]], weight[:512], alpha, *first)
        C = 1 / (alpha * weight[:512].sum())
        best = LogisticRegression(C=C, fit_intercept=fit_intercept).fit(X[:512], y[:512], sample_weight=weight[:512])
        least = twins.softmax_value(
            plain[:512], np.eye(3)[y[:512]], weight[:512], alpha, best.coef_, best.intercept_ * fit_intercept
        )
        assert least <= value <= 1.002 * least
        second = solution_of(steps, X[512:], y[512:], weight[512:])
        value = newton_block_value(plain, y, weight, alpha, first, second)
        for length in (0.9, 1.1):
            other = [a + length * (b - a) for a, b in zip(first, second, strict=True)]
            assert value < newton_block_value(plain, y, weight, alpha, first, other)


def newton_block_value(X, y, weight, alpha, first, second):
    """What the second of two equal blocks minimises."""
    half, target = len(y) // 2, np.eye(3)[y]
    Z = np.column_stack([X, np.ones(len(y))])
    prob = twins.softmax(twins.softmax_logits(X[:half], *first))
    curvature = 3 / 2 * weight[:half, None] * prob * (1 - prob)
    value = weight[half:].sum() * twins.softmax_value(X[half:], target[half:], weight[half:], alpha, *second)
    for k in range(3):
        move = np.append(second[0][k] - first[0][k], second[1][k] - first[1][k])
        value += 0.5 * curvature[:, k] @ (Z[:half] @ move) ** 2
        value += 0.5 * alpha * weight[:half].sum() * move[:-1] @ move[:-1]
    return value


class TestStreams:
    def test_a_class_without_samples(self, kind):
        """It comes to be improbable, and the others are as without it."""
        X, y = make_data(n=3000, n_classes=3)
        model, without = (SGDLogisticRegression(shuffle=False, **kind) for _ in range(2))
        for _ in range(3):
            model.partial_fit(X, y, classes=range(4))
            without.partial_fit(X, y, classes=range(3))
        prob = model.predict_proba(X)
        assert prob[:, 3].mean() < (0.2 if "learning_rate" in kind else 0.02)
        others = prob[:, :3] / prob[:, :3].sum(axis=1, keepdims=True)
        assert np.abs(others - without.predict_proba(X)).mean() < 0.05

    def test_two_classes_that_are_there_of_three(self):
        rng = np.random.default_rng(0)
        X = rng.standard_normal((3000, 7))
        y = draw(X @ rng.standard_normal((7, 2)), rng)
        three = SGDLogisticRegression(shuffle=False, alpha=1e-3).partial_fit(X, y, classes=[0, 1, 2])
        # alpha / 2 (|w|^2 + |-w|^2) of two classes is alpha / 4 of the difference squared
        two = SGDLogisticRegression(shuffle=False, alpha=5e-4).partial_fit(X, y, classes=[0, 1])
        np.testing.assert_allclose(three.predict_proba(X)[:, :2], two.predict_proba(X), atol=0.02)


class TestLayouts:
    @pytest.mark.parametrize("short", zoo.FLOATS)
    def test_sparse_is_dense(self, short):
        X, y = sparse_data(n=1200, n_classes=4)
        X = X.astype({"f64": np.float64, "f32": np.float32}[short])
        for options in KINDS.values():
            options = {"random_state": 0, "alpha": 0.1, "max_iter": 3, **options}
            rtol = 1e-9 if short == "f64" else 1e-5
            ours, plain = fitted(X, y, **options), fitted(X.toarray(), y, **options)
            assert ours.coef_.dtype == X.dtype
            np.testing.assert_allclose(ours.coef_, plain.coef_, rtol=rtol, atol=rtol * np.abs(plain.coef_).max())


class TestAuto:
    def test_one_pass_is_near_the_optimum_whatever_the_units_and_origins(self):
        X, y = make_data(n=20_000, d=20, n_classes=4)
        rng = np.random.default_rng(0)
        units, origins = 10.0 ** rng.uniform(-4, 4, 20), rng.uniform(-5, 5, 20)
        excess = []
        for moved in (X, X * units, X + origins):
            model = fitted(moved, y, alpha=0.0, random_state=0, max_iter=1)
            excess.append(objective(model, moved, y, 0.0) - optimum(moved, y, 0.0))
        assert 0 < excess[0] < 3e-4  # a fifth of what a sample of that size leaves open, 3 d / (2 n)
        assert excess[1] == pytest.approx(excess[0], rel=0.05)
        assert excess[2] == pytest.approx(excess[0], rel=0.05)

    def test_curvature_from_drawn_rows(self):
        X, y = make_data(n=6000, d=300, n_classes=3)
        model = fitted(X, y, alpha=1e-3, random_state=0, max_iter=1)
        best = optimum(X, y, 1e-3)
        assert objective(model, X, y, 1e-3) - best < 0.05 * (np.log(3) - best)

    def test_curvature_of_a_single_row_that_is_left_over(self):
        X, y = make_data(n=601, d=300, n_classes=3)
        steps = SoftmaxNewtonSteps(np.zeros((3, 300)), np.zeros(3), False, 1e-4, True)
        solution_of(steps, X[:600], y[:600])
        before = steps.curvature.copy()
        solution_of(steps, X[600:], y[600:])
        assert np.trace(steps.curvature[0]) > np.trace(before[0])

    def test_overflow_is_told(self):
        X, y = make_data(n_classes=4, scale=1e200)
        with pytest.raises(ValueError, match="overflow occurred at epoch #1"):
            SGDLogisticRegression().fit(X, y)

    def test_many_classes(self):
        X, y = make_data(n=5000, d=5, n_classes=60)
        for options in KINDS.values():
            assert np.isfinite(fitted(X, y, random_state=0, max_iter=2, **options).coef_).all()


class TestValidation:
    def test_early_stopping_takes_the_same_samples_and_keeps_the_best_epoch(self):
        X, y = make_data(1000, n_classes=4)
        options = {"learning_rate": "constant", "eta0": 1e-3, "random_state": 5}
        model = SGDLogisticRegression(early_stopping=True, **options).fit(X, y)
        kept, _ = model._split(y, None)
        assert model.validation_curve_.max() == pytest.approx(model.score(X[~kept], y[~kept]))
        best = int(np.argmax(model.validation_curve_)) + 1
        assert best <= model.n_iter_ < 100


class TestEstimator:
    def test_has_what_scikit_learn_has(self, kind):
        X, y = make_data(n_classes=4)
        theirs = SGDClassifier(loss="log_loss", max_iter=3, tol=None, random_state=0).fit(X, y)
        ours = fitted(X, np.array(list("abcd"))[y], max_iter=3, random_state=0, **kind)
        assert ours.coef_.shape == theirs.coef_.shape == (4, 7)
        assert ours.intercept_.shape == theirs.intercept_.shape
        assert list(ours.classes_) == list("abcd")
        assert ours.decision_function(X).shape == theirs.decision_function(X).shape
        np.testing.assert_allclose(ours.decision_function(X), X @ ours.coef_.T + ours.intercept_)
        np.testing.assert_allclose(ours.predict_proba(X), twins.softmax(ours.decision_function(X)))
        assert ours.t_ == 1 + ours.n_iter_ * len(y)

    def test_class_weights_are_sample_weights(self, kind):
        X, y = make_data(n_classes=4)
        class_weight = {0: 2.0, 1: 0.5, 2: 1.0, 3: 0.0}
        a = fitted(X, y, class_weight=class_weight, random_state=0, max_iter=3, **kind)
        of_fit = {"sample_weight": np.array([2.0, 0.5, 1.0, 0.0])[y]}
        b = fitted(X, y, random_state=0, max_iter=3, of_fit=of_fit, **kind)
        np.testing.assert_array_equal(a.coef_, b.coef_)

    def test_warm_start_continues(self):
        X, y = make_data(n_classes=4)
        model = SGDLogisticRegression(warm_start=True, random_state=0).fit(X, y)
        value = objective(model, X, y, 1e-4)
        assert objective(model.fit(X, y), X, y, 1e-4) <= value * (1 + 1e-9)
        assert model.n_iter_ < 15

    def test_adaptive_rate_falls(self):
        X, y = make_data(n_classes=4)
        model = SGDLogisticRegression(learning_rate="adaptive", eta0=0.5, random_state=0).fit(X, y)
        assert objective(model, X, y, 1e-4) < 1.001 * optimum(X, y, 1e-4)


class TestSolver:
    def test_soft_targets_and_weights(self):
        X, y = make_data(n_classes=4)
        rng = np.random.default_rng(0)
        counts, weight = rng.integers(0, 5, (len(y), 4)) + 3 * np.eye(4)[y], rng.uniform(0, 2, len(y))
        model, best = (
            LogisticRegression(solver=solver, soft_targets=True).fit(X, counts, sample_weight=weight)
            for solver in ("sgd", "newton")
        )
        assert model.gap_ < 2e-9
        np.testing.assert_allclose(model.coef_, best.coef_, rtol=1e-3, atol=1e-4)

    def test_soft_targets_of_very_many_columns(self):
        X, y = sparse_data(n=300, d=2100, n_classes=4)
        target = 0.8 * np.eye(4)[y] + 0.05
        model = fitted(X, target, LogisticRegression, solver="sgd", soft_targets=True, C=0.1, max_iter=20)
        best = LogisticRegression(soft_targets=True, C=0.1).fit(X, target)
        assert best.loss_curve_[-1] <= model.loss_curve_[-1] * (1 + 1e-9)
        assert model.loss_curve_[-1] < 1.02 * best.loss_curve_[-1]

    def test_warm_start(self):
        X, y = make_data(n_classes=4)
        model = LogisticRegression(solver="sgd", warm_start=True).fit(X, y)
        assert model.fit(X, y).n_iter_[0] <= 2


def test_one_pass_over_real_data(real_data):
    X, y = real_data("covtype20k")
    model = fitted(X, y, random_state=0, max_iter=1)
    assert objective(model, X, y, 1e-4) < 1.02 * optimum(X, y, 1e-4, tol=1e-4)
