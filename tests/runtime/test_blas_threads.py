"""BLAS's threads: one in a limited call, and the number from before after it, whatever came between."""

import ctypes
import os
from types import SimpleNamespace

import numpy as np
import pytest
import threadpoolctl
import zoo
from fresh import run_python

from fastlogreg.data.layouts import as_design
from fastlogreg.kernels import dispatch
from fastlogreg.runtime.blas_threads import functions_of, single_threaded_blas

needs_openmp = pytest.mark.skipif(dispatch.openmp_threads() is None, reason="built without OpenMP")
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")


def blas_threads():
    return {module["num_threads"] for module in threadpoolctl.threadpool_info() if module["user_api"] == "blas"}


limited = single_threaded_blas(blas_threads)


@pytest.fixture
def _two_blas_threads():
    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        if blas_threads() != {2}:
            pytest.skip("this BLAS has no threads to limit")
        yield


@pytest.mark.usefixtures("_two_blas_threads")
class TestOneThread:
    def test_limits_and_restores(self):
        assert limited() == {1}
        assert blas_threads() == {2}

    def test_nests(self):
        @single_threaded_blas
        def outer():
            return limited(), blas_threads()

        assert outer() == ({1}, {1})
        assert blas_threads() == {2}

    @pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt])
    def test_restores_after_an_error(self, error):
        @single_threaded_blas
        def failing():
            raise error

        with pytest.raises(error):
            failing()
        assert blas_threads() == {2}

    def test_it_is_the_same_function(self):
        class Model:
            @single_threaded_blas
            def fit(self, X, *, weight=None):
                """Fit it."""
                return self, X, weight

        model = Model()
        assert model.fit(1, weight=2) == (model, 1, 2)
        assert (Model.fit.__name__, Model.fit.__doc__) == ("fit", "Fit it.")

    def test_gram_leaves_blas_as_it_was(self):
        X = zoo.item("C-f64-1003x70").X
        as_design(X, 2).gram(np.ones(len(X)), np.zeros(70))
        assert blas_threads() == {2}


BLAS_THREADS = """
    import os, signal, threading, threadpoolctl
    import numpy as np
    from fastlogreg import LogisticRegression, SGDLogisticRegression
    from fastlogreg.runtime.blas_threads import limit_library, single_threaded_blas

    def blas_threads():
        return {m["num_threads"] for m in threadpoolctl.threadpool_info() if m["user_api"] == "blas"}

    def in_thread(function):
        done = []
        thread = threading.Thread(target=lambda: done.append(function()))
        thread.start()
        thread.join()
        return done[0]

    limited = single_threaded_blas(blas_threads)
    several = blas_threads()

    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    y = (X[:, 0] + rng.normal(size=60) > 0).astype(int)

    class Call:
        \"\"\"A limited call in a thread of its own, which lasts until it is let go.\"\"\"

        def __init__(self, count=blas_threads):
            self.begun, self.go, self.counts = threading.Event(), threading.Event(), [count()]
            self.count, self.thread = count, threading.Thread(target=self.run)

        def __enter__(self):
            self.thread.start()
            self.begun.wait(60)
            return self

        def run(self):
            self.counts.append(self.count())
            single_threaded_blas(self.wait)()
            self.counts.append(self.count())

        def wait(self):
            self.begun.set()
            self.go.wait(60)
            self.counts.append(self.count())

        def __exit__(self, *_):
            self.go.set()
            self.thread.join()
"""


def run_with_blas(code):
    run_python(BLAS_THREADS + code, OPENBLAS_NUM_THREADS="2")


class TestSeveralThreads:
    """In an interpreter of their own, since threadpoolctl remembers which thread was the first to set limits."""

    def test_each_of_several_threads(self):
        run_with_blas("""
    for run in (limited, lambda: in_thread(limited), lambda: in_thread(limited), limited):
        assert run() == {1}, run()
        assert blas_threads() == several, blas_threads()
    """)

    def test_the_last_of_two_restores(self):
        run_with_blas("""
    for order in ((0, 1), (1, 0)):
        calls = Call(), Call()
        for call in calls:
            call.__enter__()
        for last, i in enumerate(order):
            calls[i].__exit__()
            assert blas_threads() == (several if last else {1}), (order, blas_threads())
    """)

    def test_many_at_once(self):
        run_with_blas("""
    def keep_fitting():
        for _ in range(100):
            LogisticRegression(n_jobs=1).fit(X, y)

    threads = [threading.Thread(target=keep_fitting) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert blas_threads() == several, blas_threads()
    """)

    def test_who_changes_it_meanwhile_has_the_last_word(self):
        run_with_blas("""
    def raise_limit():
        threadpoolctl.threadpool_limits(2, user_api="blas")

    threadpoolctl.threadpool_limits(1, user_api="blas")
    single_threaded_blas(raise_limit)()
    assert blas_threads() == several, blas_threads()
    threadpoolctl.threadpool_limits(1, user_api="blas")
    with Call():
        raise_limit()
        assert limited() == {1}
    assert blas_threads() == several, blas_threads()
    """)

    @needs_openmp
    def test_numbers_that_belong_to_a_thread(self):
        """As those of a BLAS on OpenMP, in whose place stands OpenMP itself."""
        run_with_blas("""
    import ctypes
    from types import SimpleNamespace
    from fastlogreg.kernels import dispatch
    from fastlogreg.runtime.blas_threads import functions_of

    library = SimpleNamespace(internal_api="openblas", threading_layer="openmp", dynlib=ctypes.CDLL(dispatch.__file__))
    limit_library(*functions_of(library))
    before = dispatch.openmp_threads()
    for order in ((0, 1), (1, 0)):
        calls = Call(dispatch.openmp_threads), Call(dispatch.openmp_threads)
        for call in calls:
            call.__enter__()
        assert dispatch.openmp_threads() == before
        for i in order:
            calls[i].__exit__()
            assert calls[i].counts == [before, before, 1, before], calls[i].counts
    """)


class TestLibraries:
    def test_every_blas_of_this_process_is_known(self):
        libraries = threadpoolctl.ThreadpoolController().select(user_api="blas").lib_controllers
        assert libraries
        for library in libraries:
            get, _, of_thread = functions_of(library)
            assert of_thread == (library.internal_api == "mkl" or library.threading_layer == "openmp")
            assert ctypes.CFUNCTYPE(ctypes.c_int)(get)() == library.num_threads

    def test_one_without_threads(self):
        for name in ("openblas", "mkl", "another"):
            assert functions_of(SimpleNamespace(internal_api=name, dynlib=ctypes.CDLL(None))) is None


class TestInterrupts:
    def test_exceptions_of_a_signal_handler(self):
        """They come between any two lines of Python, of which there are many at both ends of a fit."""
        run_with_blas("""
    def interrupt(*_):
        raise KeyboardInterrupt

    signal.signal(signal.SIGALRM, interrupt)
    streamed = SGDLogisticRegression()
    fits = (
        lambda: LogisticRegression(n_jobs=1).fit(X, y),
        lambda: SGDLogisticRegression(max_iter=2, tol=None).fit(X, y),
        lambda: streamed.partial_fit(X, y, classes=[0, 1]),
    )
    for n in range(600):
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.0005 + 0.001 * rng.random())
            while True:
                fits[n % 3]()
        except KeyboardInterrupt:
            signal.setitimer(signal.ITIMER_REAL, 0)
        if n % 10 == 0:
            assert blas_threads() == several, (n, blas_threads())
    """)


@needs_fork
class TestFork:
    CHILD = """
    def in_child(function):
        pid = os.fork()
        if pid == 0:
            signal.alarm(20)  # a child that hangs is killed
            function()
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0

    def check_child():
        assert blas_threads() == several, blas_threads()
        assert limited() == {1}
        assert blas_threads() == several, blas_threads()
        LogisticRegression().fit(X, y)
        assert blas_threads() == several, blas_threads()
    """

    def test_during_another_thread_s_call(self):
        run_with_blas(
            self.CHILD
            + """
    with Call():
        in_child(check_child)
        in_child(lambda: in_child(check_child))
        assert blas_threads() == {1}, blas_threads()
    assert blas_threads() == several, blas_threads()
    in_child(check_child)
    """
        )

    def test_during_the_call_of_the_thread_that_forks(self):
        run_with_blas(
            self.CHILD
            + """
    def fork_inside():
        if forks:
            in_child(check_child)
            return
        pid = os.fork()
        if pid == 0:
            return 0
        assert os.waitpid(pid, 0)[1] == 0

    for forks in (True, False):
        ended = single_threaded_blas(fork_inside)()
        assert blas_threads() == several, blas_threads()
        if ended == 0:
            check_child()
            os._exit(0)
    """
        )

    def test_while_another_thread_fits(self):
        run_with_blas(
            self.CHILD
            + """
    LogisticRegression().fit(X, y)
    stop = threading.Event()

    def keep_fitting():
        while not stop.is_set():
            LogisticRegression(n_jobs=1).fit(X, y)

    thread = threading.Thread(target=keep_fitting)
    thread.start()
    for _ in range(25):
        in_child(check_child)
    stop.set()
    thread.join()
    assert blas_threads() == several, blas_threads()
    """
        )
