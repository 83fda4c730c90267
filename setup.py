"""Builds the extensions: the C block kernels once per instruction set, and the Cython modules that use them.

FASTLOGREG_DEBUG=1                       bounds checks, -O0 -g, C warnings are errors
FASTLOGREG_SANITIZE=address|undefined    with that sanitizer (run the tests with its runtime preloaded: README)
"""

import os
import platform
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

DEBUG = os.environ.get("FASTLOGREG_DEBUG", "0") not in ("", "0")
SANITIZE = os.environ.get("FASTLOGREG_SANITIZE", "")
KERNELS = "fastlogreg/kernels"
X86 = platform.machine().lower() in ("x86_64", "amd64")

ISA_FLAGS = {"baseline": []}
if X86:
    ISA_FLAGS["avx2"] = ["-mavx2", "-mfma"]
    ISA_FLAGS["avx512"] = [
        *("-mavx512f", "-mavx512dq", "-mavx512vl", "-mavx512bw", "-mfma"),
        "-mprefer-vector-width=512",
    ]

# Contraction only fuses a multiply and the add it feeds; unlike -ffast-math it reorders nothing.
KERNEL_FLAGS = ["-std=c11", "-Wall", "-Wextra", "-ffp-contract=fast", "-fopenmp-simd", "-fno-math-errno"]
# -g0: where Python itself was built with -g, its flags come first and would quadruple the wheel.
COMPILE_FLAGS = ["-O0", "-g", "-Werror"] if DEBUG else ["-O3", "-g0"]
LINK_FLAGS = []
if SANITIZE:
    if SANITIZE not in ("address", "undefined"):
        raise SystemExit(f"FASTLOGREG_SANITIZE={SANITIZE}: it is address or undefined")
    COMPILE_FLAGS += [f"-fsanitize={SANITIZE}", "-fno-omit-frame-pointer", "-g"]
    if SANITIZE == "undefined":
        COMPILE_FLAGS.append("-fno-sanitize-recover=undefined")
    LINK_FLAGS.append(f"-fsanitize={SANITIZE}")


class BuildExt(build_ext):
    """Compiles the kernels' objects with their own flags, on all cores, and uses OpenMP where the compiler has it."""

    def build_extensions(self):
        self.force = True  # setuptools compares files; it does not see the switches
        self.parallel = self.parallel or os.cpu_count()
        openmp = ["-fopenmp"] if self.has_openmp() else []
        in_place = self.inplace or self.editable_mode
        # The names of functions that nobody links to are for profilers; they would take 6 % of a wheel.
        strip = [] if DEBUG or in_place or sys.platform != "linux" else ["-Wl,--strip-all"]
        for extension in self.extensions:
            extension.extra_compile_args += COMPILE_FLAGS + openmp
            extension.extra_link_args += LINK_FLAGS + openmp + strip
            if extension.name.endswith(".dispatch"):
                extension.extra_objects = self.kernel_objects()
        super().build_extensions()

    def has_openmp(self):
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "openmp.c")
            source.write_text("#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n")
            try:
                objects = self.compiler.compile([str(source)], output_dir=folder, extra_postargs=["-fopenmp"])
                self.compiler.link_executable(objects, "openmp", output_dir=folder, extra_postargs=["-fopenmp"])
            except Exception:  # whatever the compiler's class raises: without OpenMP everything works on one thread
                return False
        return True

    def kernel_objects(self):
        flags_of_source = {f"isa_{isa}.c": flags for isa, flags in ISA_FLAGS.items()}
        flags_of_source["block_kernels.c"] = ["-DFASTLOGREG_X86"] if X86 else []
        with ThreadPoolExecutor(self.parallel) as pool:
            objects = pool.map(self.compile_kernels, flags_of_source, flags_of_source.values())
            return [path for paths in objects for path in paths]

    def compile_kernels(self, name, flags):
        return self.compiler.compile(
            [f"{KERNELS}/{name}"], output_dir=self.build_temp, extra_postargs=[*KERNEL_FLAGS, *COMPILE_FLAGS, *flags]
        )


def extension(module):
    return Extension(
        module,
        [module.replace(".", "/") + ".pyx"],
        include_dirs=[KERNELS],
        depends=[str(path) for path in Path(KERNELS).glob("*.[ch]")],
    )


setup(
    cmdclass={"build_ext": BuildExt},
    ext_modules=cythonize(
        [
            extension("fastlogreg.kernels.dispatch"),
            extension("fastlogreg.objectives.contrasts"),
            extension("fastlogreg.objectives.coordinates"),
            extension("fastlogreg.data.design"),
            extension("fastlogreg.data.dual"),
            extension("fastlogreg.objectives.evaluation"),
            extension("fastlogreg.estimators.labels"),
            extension("fastlogreg.data.pointwise"),
            extension("fastlogreg.data.softmax_passes"),
            extension("fastlogreg.data.rows"),
            extension("fastlogreg.data.read_ahead"),
            extension("fastlogreg.steps.base"),
            extension("fastlogreg.steps.gradient"),
            extension("fastlogreg.steps.newton"),
            extension("fastlogreg.steps.diagonal"),
            extension("fastlogreg.steps.softmax_gradient"),
            extension("fastlogreg.steps.softmax_newton"),
            extension("fastlogreg.steps.softmax_diagonal"),
            extension("fastlogreg.data.sparse_gram"),
            extension("fastlogreg.curvature.factored"),
            extension("fastlogreg.solvers.newton_step"),
        ],
        build_dir="build/cython-debug" if DEBUG else "build/cython",
        compiler_directives={
            "language_level": 3,
            "boundscheck": DEBUG,
            "initializedcheck": DEBUG,
            "cdivision": True,
            "freethreading_compatible": True,
        },
    ),
)
