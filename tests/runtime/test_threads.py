"""Threads: how many, forks, two passes at once, the GIL; and the choice of instruction set."""

import os
import threading
import time

import joblib
import numpy as np
import pytest
import threadpoolctl
import zoo
from fresh import run_python
from numpy.testing import assert_array_equal

from fastlogreg.data.layouts import as_design
from fastlogreg.kernels import dispatch
from fastlogreg.runtime.threads import effective_n_threads

needs_openmp = pytest.mark.skipif(dispatch.openmp_threads() is None, reason="built without OpenMP")
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")


PRINT_THREADS = """
    from fastlogreg.runtime.threads import effective_n_threads
    print(*(effective_n_threads(n_jobs) for n_jobs in (None, -1, -2, -1000, 1, 5)))
"""


class TestEffectiveNThreads:
    @needs_openmp
    def test_all_that_are_available(self):
        with threadpoolctl.threadpool_limits(1000, user_api="openmp"):
            available = joblib.cpu_count()
            assert effective_n_threads() == available
            assert effective_n_threads(-1) == available
            assert effective_n_threads(-2) == max(1, available - 1)
            assert effective_n_threads(-available - 5) == 1

    @needs_openmp
    @pytest.mark.parametrize("n_jobs", [1, 2, 7])
    def test_a_positive_number_is_taken_as_it_is(self, n_jobs):
        assert effective_n_threads(n_jobs) == n_jobs

    def test_zero_has_no_meaning(self):
        with pytest.raises(ValueError, match="n_jobs == 0"):
            effective_n_threads(0)

    @needs_openmp
    def test_threadpoolctl_limits(self):
        with threadpoolctl.threadpool_limits(1, user_api="openmp"):
            assert effective_n_threads() == 1
            assert effective_n_threads(-1) == 1
            assert effective_n_threads(-2) == 1

    @needs_openmp
    @pytest.mark.parametrize("limit", [1, 2])
    def test_omp_num_threads_limits(self, limit):
        available = min(limit, joblib.cpu_count())
        found = [int(word) for word in run_python(PRINT_THREADS, OMP_NUM_THREADS=str(limit))]
        assert found == [available, available, max(1, available - 1), 1, 1, 5]

    @needs_openmp
    def test_joblib_s_share_limits(self):
        found = [int(word) for word in run_python(PRINT_THREADS, LOKY_MAX_CPU_COUNT="1")]
        assert found == [1, 1, 1, 1, 1, 5]


MAKE_PASS = """
    import os, signal
    import numpy as np
    from fastlogreg.data.layouts import as_design
    from fastlogreg.runtime.threads import effective_n_threads

    X = np.random.default_rng(0).normal(size=(5000, 20))
    center = X.mean(axis=0)
    arguments = np.ones((1, 20)), np.zeros(1), np.full((1, 5000), 0.3), np.ones(5000)

    def make_passes(design):
        return design.loss_gradient(*arguments)[1], design.gram(arguments[-1], center)

    def in_child(function):
        pid = os.fork()
        if pid == 0:
            signal.alarm(20)  # a child that hangs is killed
            function()
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0

    design = as_design(X, 2)
    expected = make_passes(design)
"""


@needs_fork
class TestFork:
    def test_child_makes_its_own_passes_on_one_thread(self):
        run_python(
            MAKE_PASS
            + """
    def child():
        assert effective_n_threads() == effective_n_threads(4) == effective_n_threads(-1) == 1
        for part, same in zip(make_passes(as_design(X, effective_n_threads())), expected):
            assert (part == same).all()
        in_child(child_of_child)

    def child_of_child():
        assert effective_n_threads() == 1
        make_passes(as_design(X, effective_n_threads()))

    in_child(child)
    for part, same in zip(make_passes(design), expected):
        assert (part == same).all()
    """
        )

    def test_child_uses_a_design_of_its_parent(self):
        """Made for two threads, which the child does not have."""
        run_python(MAKE_PASS + "\n    in_child(lambda: make_passes(design))")

    def test_child_uses_pointwise_functions(self):
        run_python(
            MAKE_PASS
            + """
    from fastlogreg import bce
    logits = np.linspace(-5, 5, 100_000)
    bce.sigmoid(logits)
    in_child(lambda: bce.sigmoid(logits))
    """
        )

    def test_parent_goes_on_after_a_child(self):
        run_python(MAKE_PASS + "\n    in_child(lambda: None)\n    assert (make_passes(design)[0] == expected[0]).all()")


class TestTwoAtOnce:
    @pytest.mark.parametrize("n_threads", [1, 2])
    def test_passes_on_two_designs(self, n_threads):
        items = [zoo.item(name) for name in ("C-f64-1003x70", "F-f32-3003x13", "CSR-f64-4001x33")]

        def passes(item):
            design = as_design(item.X, n_threads)
            n, d = item.dense.shape
            weight = np.linspace(0, 1, n)
            results = []
            for _ in range(20):
                results += design.loss_gradient(np.full((1, d), 1e-3), np.zeros(1), weight[None], weight)
                results += design.moments(weight)
                results.append(design.gram(weight, np.zeros(d)))
            return results

        alone = [passes(item) for item in items]
        together = joblib.Parallel(n_jobs=3, backend="threading")(joblib.delayed(passes)(item) for item in items)
        for one, other in zip(alone, together, strict=True):
            for part, same in zip(one, other, strict=True):
                assert_array_equal(part, same)

    @pytest.mark.parametrize("method", ["logits", "loss_gradient", "hessian_dot", "moments", "gram"])
    def test_a_pass_does_not_hold_the_gil(self, method):
        """Another thread counts on while a long pass runs."""
        n, d, K = 20_000, 50, 40
        X = np.random.default_rng(0).normal(size=(n, d))
        design = as_design(np.tile(X, (1, 4)) if method in ("gram", "moments") else X)
        d = design.n_features
        coef, intercept, of_samples = np.zeros((K, d)), np.zeros(K), np.ones((K, n))
        arguments = {
            "logits": (coef, intercept),
            "loss_gradient": (coef, intercept, of_samples),
            "hessian_dot": (of_samples, coef, intercept),
            "moments": (of_samples[0],),
            "gram": (of_samples[0], np.zeros(d)),
        }[method]
        ticks, stop = [], threading.Event()

        def count():
            while not stop.is_set():
                ticks.append(time.perf_counter())

        counter = threading.Thread(target=count, daemon=True)
        counter.start()
        try:
            # On a busy machine the counter may wait for a core, so it has some seconds' time.
            patience = time.perf_counter() + 20
            while time.perf_counter() < patience:
                ticks.clear()
                begin = time.perf_counter()
                getattr(design, method)(*arguments)
                end = time.perf_counter()
                # The edges do not count: there the pass is Python, which hands the GIL over.
                quarter = 0.25 * (end - begin)
                if sum(begin + quarter < tick < end - quarter for tick in ticks) > 10:
                    return
        finally:
            stop.set()
            counter.join()
        pytest.fail("no other thread made progress during a pass")


class TestInstructionSets:
    @pytest.mark.parametrize("isa", dispatch.available_isas())
    def test_environment_chooses(self, isa):
        found = run_python("from fastlogreg.kernels import dispatch; print(dispatch.active_isa())", FASTLOGREG_ISA=isa)
        assert found == [isa]

    def test_the_best_is_the_default(self):
        found = run_python("from fastlogreg.kernels import dispatch; print(dispatch.active_isa())", FASTLOGREG_ISA="")
        assert found == [dispatch.available_isas()[-1]]

    def test_unknown_name(self):
        code = """
            try:
                import fastlogreg
            except ValueError as error:
                print(error)
        """
        message = " ".join(run_python(code, FASTLOGREG_ISA="mmx"))
        assert "FASTLOGREG_ISA='mmx'" in message
        assert all(isa in message for isa in dispatch.available_isas())

    def test_use_isa(self, isa):
        assert dispatch.active_isa() == isa
        with pytest.raises(ValueError, match="FASTLOGREG_ISA='sse9'"):
            dispatch.use_isa("sse9")
        assert dispatch.active_isa() == isa
