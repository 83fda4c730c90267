"""A BLAS that uses one thread meanwhile.

How many threads a BLAS uses is a state of the whole process, or of a thread where it runs on OpenMP, as MKL does. It is
changed and put back by compiled code that runs no line of Python in between. So nothing can come between: neither an
exception that a signal handler raises, nor, as the GIL is held, another thread or its fork.
"""

import ctypes
import functools
import itertools
import os
import warnings

cimport cython

from threadpoolctl import ThreadpoolController

cdef enum:
    MAX_LIBRARIES = 16

ctypedef int (*get_function)() noexcept nogil
ctypedef void (*set_function)(int) noexcept nogil


cdef struct blas_library:
    get_function get
    set_function set
    bint of_thread  # whether each thread has a number of its own


cdef struct limited_call:
    Py_ssize_t n_forks             # when it began
    int[MAX_LIBRARIES] before      # the numbers of the thread


cdef blas_library[MAX_LIBRARIES] _libraries
cdef Py_ssize_t _n_libraries = 0
# The numbers of the process before the first of the calls that are limited now, and how many calls these are.
cdef int[MAX_LIBRARIES] _before
cdef Py_ssize_t _n_calls = 0
cdef Py_ssize_t _n_forks = 0
cdef object _guard = object()  # takes the GIL's place in builds of Python without it


cdef void _begin(limited_call *call) noexcept:
    """Remember the numbers of threads, and set them to one."""
    global _n_calls
    cdef Py_ssize_t i
    cdef int number
    with cython.critical_section(_guard):
        call.n_forks = _n_forks
        for i in range(_n_libraries):
            number = _libraries[i].get()
            if _libraries[i].of_thread:
                call.before[i] = number
            elif _n_calls == 0 or number != 1:
                _before[i] = number
            _libraries[i].set(1)
        _n_calls += 1


cdef void _end(const limited_call *call) noexcept:
    """Put the numbers of the thread back and, if no other call needs them to be one, those of the process."""
    global _n_calls
    cdef Py_ssize_t i
    with cython.critical_section(_guard):
        for i in range(_n_libraries):
            if _libraries[i].of_thread:
                _put_back(i, call.before[i])
        if call.n_forks == _n_forks:
            _n_calls -= 1
            if _n_calls == 0:
                _put_back_process()


cdef void _put_back(Py_ssize_t i, int number) noexcept:
    """Unless another has changed it meanwhile."""
    if _libraries[i].get() == 1:
        _libraries[i].set(number)


cdef void _put_back_process() noexcept:
    cdef Py_ssize_t i
    for i in range(_n_libraries):
        if not _libraries[i].of_thread:
            _put_back(i, _before[i])


def _leave_parents_calls():
    """In a forked child, which has none of the threads that would put the numbers back."""
    global _n_calls, _n_forks
    _n_forks += 1
    if _n_calls:
        _n_calls = 0
        _put_back_process()


def single_threaded_blas(function):
    """Decorate a function: while calls of it run, in whatever threads, BLAS uses one thread.

    How ever calls end, and in whichever order, the numbers of threads are then those from before; in a child that is
    forked meanwhile they are from the start.
    """
    @functools.wraps(function)
    def limited(*args, **kwargs):
        cdef limited_call call
        _begin(&call)
        try:
            return function(*args, **kwargs)
        finally:
            _end(&call)

    return limited


def limit_library(size_t get, size_t set, bint of_thread):
    """Limit one more library from now on, given the addresses of its functions."""
    global _n_libraries
    if _n_libraries < MAX_LIBRARIES:
        _libraries[_n_libraries] = [<get_function>get, <set_function>set, of_thread]
        _n_libraries += 1


def functions_of(library):
    """The addresses of a library's functions, and whether they are about the thread; None of a BLAS without threads.

    Parameters
    ----------
    library : threadpoolctl.LibController
    """
    if getattr(library, "threading_layer", None) == "openmp":
        names, of_thread = [("omp_get_max_threads", "omp_set_num_threads")], True
    else:
        names, of_thread = _NAMES.get(library.internal_api, []), library.internal_api == "mkl"
    for pair in names:
        if all(hasattr(library.dynlib, name) for name in pair):
            get, set_ = (ctypes.cast(getattr(library.dynlib, name), ctypes.c_void_p).value for name in pair)
            return get, set_, of_thread
    return None


_NAMES = {
    "openblas": [
        tuple(f"{prefix}openblas_{verb}_num_threads{suffix}" for verb in ("get", "set"))
        for prefix, suffix in itertools.product(("", "scipy_"), ("", "64_", "_64"))
    ],
    "mkl": [("MKL_Get_Max_Threads", "MKL_Set_Num_Threads_Local")],
    "blis": [("bli_thread_get_num_threads", "bli_thread_set_num_threads")],
    "flexiblas": [("flexiblas_get_num_threads", "flexiblas_set_num_threads")],
}


def _limit_loaded_libraries():
    """NumPy's BLAS and SciPy's, which are loaded by now."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of two runtimes of OpenMP in a process, of which this one makes no third
        libraries = ThreadpoolController().select(user_api="blas").lib_controllers
    for library in libraries:
        found = functions_of(library)
        if found is not None:
            limit_library(*found)


_limit_loaded_libraries()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_parents_calls)
