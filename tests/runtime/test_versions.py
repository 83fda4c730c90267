"""What a bug report needs."""

import fastlogreg
from fastlogreg.kernels import dispatch


def test_show_versions(capsys):
    fastlogreg.show_versions()
    printed = dict(line.strip().split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert printed["fastlogreg"] == fastlogreg.__version__
    assert printed["instruction set"].startswith(dispatch.active_isa())
    assert printed.keys() >= {"threads", "python", "numpy", "scipy", "scikit-learn", "joblib", "machine"}
    assert all(printed.values())
