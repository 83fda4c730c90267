"""Which instruction set the block primitives run on: the best one of the machine, or FASTLOGREG_ISA's."""

import os


cdef const block_kernels *_active = NULL


cdef const block_kernels *active_kernels() noexcept nogil:
    return _active


def available_isas():
    """Instruction sets that this build and this machine have, worst first."""
    names = []
    cdef Py_ssize_t i = 0
    while block_kernels_names[i] != NULL:
        if block_kernels_named(block_kernels_names[i]) != NULL:
            names.append(block_kernels_names[i].decode())
        i += 1
    return names


def active_isa():
    """The instruction set in use."""
    return _active.isa.decode()


def use_isa(str name):
    """Use the instruction set `name` from now on; design matrices that exist keep theirs."""
    global _active
    cdef const block_kernels *table = block_kernels_named(name.encode())
    if table == NULL:
        raise ValueError(
            f"FASTLOGREG_ISA={name!r} is not one of this machine's instruction sets: {available_isas()}"
        )
    _active = table


def openmp_threads():
    """Threads OpenMP would use now (OMP_NUM_THREADS, threadpoolctl), or None in a build without OpenMP."""
    return openmp_max_threads() or None


use_isa(os.environ.get("FASTLOGREG_ISA") or available_isas()[-1])
