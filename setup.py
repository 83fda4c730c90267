"""Builds the extensions: the C block kernels once per instruction set, and the Cython modules that use them.

FASTLOGREG_DEBUG=1                       bounds checks, -O0 -g, C warnings are errors
FASTLOGREG_SANITIZE=address|undefined    with that sanitizer (run the tests with its runtime preloaded: README)

What was compiled is kept in build/, in a folder per set of switches, and made again when the contents of a file change
that it was made from. Times would not do: pip builds in a new environment, where SciPy's and Cython's files are new.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import Cython
from Cython.Build import cythonize
from Cython.Build.Dependencies import create_dependency_tree
from Cython.Compiler import Options
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

DEBUG = os.environ.get("FASTLOGREG_DEBUG", "0") not in ("", "0")
SANITIZE = os.environ.get("FASTLOGREG_SANITIZE", "")
KERNELS = Path("fastlogreg/kernels")
SHARED = "fastlogreg._cyutility"  # Cython's memoryviews: compiled in each module, they would be half of the C code
X86 = platform.machine().lower() in ("x86_64", "amd64")

ISA_FLAGS = {"baseline": []}
if X86:
    ISA_FLAGS["avx2"] = ["-mavx2", "-mfma"]
    ISA_FLAGS["avx512"] = [
        *("-mavx512f", "-mavx512dq", "-mavx512vl", "-mavx512bw", "-mfma"),
        "-mprefer-vector-width=512",
    ]

FLAGS_OF_KERNELS = {KERNELS / f"isa_{isa}.c": flags for isa, flags in ISA_FLAGS.items()}
FLAGS_OF_KERNELS[KERNELS / "block_kernels.c"] = ["-DFASTLOGREG_X86"] if X86 else []

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

# Modules with loops over samples or columns of their own. The others call these, the kernels and BLAS: -O1 spares a
# seventh of the build and costs them nothing that shows.
WITH_LOOPS = tuple(f"fastlogreg.{folder}." for folder in ("data", "penalties", "objectives", "solvers", "estimators"))

Options.emit_code_comments = False  # each line of the source, again and again in the C code
DIRECTIVES = {
    "language_level": 3,
    "boundscheck": DEBUG,
    "initializedcheck": DEBUG,
    "cdivision": True,
    "freethreading_compatible": True,
    "auto_pickle": False,  # classes that are pickled say how themselves
}

# By quotes alone: a name that is no file in the kernels' folder is a system header.
INCLUDED = re.compile(r'^\s*(?:#\s*include|cdef\s+extern\s+from)\s+"(.+)"', re.MULTILINE)


def with_headers(paths):
    """The files, and the kernels' headers that they include, however deep."""
    found, pending = set(), {Path(path) for path in paths}
    while pending:
        path = pending.pop()
        found.add(path)
        included = {KERNELS / name for name in INCLUDED.findall(path.read_text(encoding="utf-8"))}
        pending |= {header for header in included - found if header.is_file()}
    return found


def inputs(extension):
    """All files that a module is made from, also those that it cimports of SciPy and of Cython."""
    tree = create_dependency_tree()
    cimported = {path for source in extension.sources for path in tree.all_dependencies(source)}
    return with_headers(cimported.union(extension.depends))


class Kept:
    """A compiled file that is kept, with a digest of the contents of the files that it was made from."""

    def __init__(self, path, made_from):
        self.path = path
        self.stamp = Path(f"{path}.sha256")
        contents = sorted(sha256(source.read_bytes()).hexdigest() for source in made_from)
        self.digest = sha256("".join(contents).encode()).hexdigest()

    def is_current(self):
        return self.path.is_file() and self.stamp.is_file() and self.stamp.read_text() == self.digest

    def keep(self, compiled):
        self.stamp.unlink(missing_ok=True)  # a build that is interrupted from here on leaves nothing that looks whole
        shutil.copy(compiled, self.path)
        self.stamp.write_text(self.digest)


class BuildExt(build_ext):
    """Compiles what is not current, on all cores: the kernels with their own flags, and OpenMP where there is one."""

    def build_extensions(self):
        self.parallel = self.parallel or os.cpu_count()
        openmp = ["-fopenmp"] if self.has_openmp() else []
        in_place = self.inplace or self.editable_mode
        # The names of functions that nobody links to are for profilers; they would take 6 % of a wheel.
        strip = [] if DEBUG or in_place or sys.platform != "linux" else ["-Wl,--strip-all"]
        compile_flags, link_flags = COMPILE_FLAGS + openmp, LINK_FLAGS + openmp + strip
        self.folder = self.folder_of_switches(compile_flags, link_flags)
        self.kept = {}
        for extension in self.extensions:
            extension.extra_compile_args += compile_flags
            if not (DEBUG or extension.name.startswith(WITH_LOOPS)):
                extension.extra_compile_args.append("-O1")
            extension.extra_link_args += link_flags
            self.kept[extension.name] = Kept(self.folder / f"{extension.name}.so", inputs(extension))
        self.translate([extension for extension in self.extensions if not self.kept[extension.name].is_current()])
        super().build_extensions()

    def folder_of_switches(self, *flags):
        """Where to keep what is made with these switches; this file counts as one, for its flags and directives."""
        version = subprocess.run([self.compiler.compiler_so[0], "--version"], capture_output=True, text=True).stdout
        compiler = version, self.compiler.compiler_so, self.compiler.linker_so
        switches = compiler, flags, sys.version, Cython.__version__, Path(__file__).read_text(encoding="utf-8")
        folder = Path("build", f"kept-{sha256(repr(switches).encode()).hexdigest()[:12]}")
        folder.mkdir(parents=True, exist_ok=True)
        return folder

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

    def translate(self, extensions):
        """From Cython to C, here and not in setup(), so that an sdist and the metadata take no translation."""
        translated = cythonize(
            extensions,
            force=True,
            nthreads=self.parallel,
            build_dir=self.folder,
            shared_utility_qualified_name=SHARED,
            compiler_directives=DIRECTIVES,
        )
        for extension, result in zip(extensions, translated, strict=True):
            extension.sources = result.sources

    def build_extension(self, extension):
        kept = self.kept[extension.name]
        target = Path(self.get_ext_fullpath(extension.name))
        if kept.is_current():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(kept.path, target)
        else:
            target.unlink(missing_ok=True)  # setuptools would keep one of other switches that is newer than the sources
            if extension.depends:
                extension.extra_objects = self.kernel_objects()
            super().build_extension(extension)
            kept.keep(target)

    def kernel_objects(self):
        with ThreadPoolExecutor(self.parallel) as pool:
            return list(pool.map(self.kernel_object, FLAGS_OF_KERNELS, FLAGS_OF_KERNELS.values()))

    def kernel_object(self, source, flags):
        kept = Kept(self.folder / f"{source.stem}.o", with_headers([source]))
        if not kept.is_current():
            flags = [*KERNEL_FLAGS, *COMPILE_FLAGS, *flags]
            kept.keep(*self.compiler.compile([str(source)], output_dir=self.build_temp, extra_postargs=flags))
        return str(kept.path)


def extension(pyx):
    return Extension(".".join(pyx.with_suffix("").parts), [str(pyx)], include_dirs=[str(KERNELS)])


dispatch = extension(KERNELS / "dispatch.pyx")
dispatch.depends = [str(source) for source in FLAGS_OF_KERNELS]
modules = [extension(pyx) for pyx in sorted(Path("fastlogreg").rglob("*.pyx")) if pyx.parent != KERNELS]

setup(cmdclass={"build_ext": BuildExt}, ext_modules=[dispatch, Extension(SHARED, []), *modules])
