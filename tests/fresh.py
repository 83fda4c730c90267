"""Fresh interpreters, for what belongs to a whole process."""

import os
import subprocess
import sys
import textwrap


def run_python(code, timeout=120, **environment):
    """What a fresh interpreter prints; fails unless it ends well in time."""
    unset = ("OMP_NUM_THREADS", "LOKY_MAX_CPU_COUNT", "FASTLOGREG_ISA")
    inherited = {name: value for name, value in os.environ.items() if name not in unset}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=inherited | environment,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.split()
