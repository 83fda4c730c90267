"""Random problems (`problems`), each fitted and judged (`verdicts`): some hundreds, or as many as ``--fuzz`` says."""

import numpy as np
import pytest
from extended import IS_EXTENDED
from problems import laid_out, problem
from verdicts import Outcome, Report, examine, judge_fits

from fastlogreg import LogisticRegression

pytestmark = pytest.mark.skipif(not IS_EXTENDED, reason="longdouble is no 80-bit float here: nothing to judge by")


def test_random_problem(fuzz_seed, record_property):
    report = examine(fuzz_seed)
    for kind, _ in report.violations:
        record_property("fuzz_violation", kind)
    if report.violations:
        pytest.fail(str(report), pytrace=False)


def _judged(fit, change):
    """The kinds of violations of a good fit that something was done to."""
    model = LogisticRegression(**fit.options).fit(laid_out(fit.dense, "C"), fit.y, fit.sample_weight)
    outcome = Outcome("C", model)
    change(outcome)
    report = Report(fit, [outcome])
    judge_fits(report, [outcome])
    return [kind for kind, _ in report.violations]


@pytest.fixture
def plain_fit():
    fit = problem(0)
    rng = np.random.default_rng(0)
    fit.dense, fit.y, fit.sample_weight = rng.normal(size=(60, 4)), np.arange(60) % 2, None
    fit.options, fit.before = {"C": 10.0}, None
    return fit


def test_a_good_fit_is_not_blamed(plain_fit):
    assert _judged(plain_fit, lambda outcome: None) == []


def test_a_proof_of_a_wrong_optimum_is_seen(plain_fit):
    def shift(outcome):
        outcome.model.coef_ = outcome.model.coef_ + 1e-4

    assert _judged(plain_fit, shift) == ["proof violated"]


def test_a_wrong_optimum_without_a_proof_is_seen(plain_fit):
    def shift(outcome):
        outcome.model.coef_ = outcome.model.coef_ + 1e-4
        outcome.model.gap_proven_ = False

    assert _judged(plain_fit, shift) == ["silently wrong"]


def test_an_estimate_that_misleads_is_seen(plain_fit):
    def warn(outcome):
        outcome.model.coef_ = outcome.model.coef_ + 1e-4
        outcome.model.gap_proven_ = False
        outcome.messages = ["LogisticRegression did not converge"]

    assert _judged(plain_fit, warn) == ["estimate far off"]


def test_a_false_alarm_is_seen(plain_fit):
    def warn(outcome):
        outcome.messages = ["The classes are separable"]

    assert _judged(plain_fit, warn) == ["false separable"]


@pytest.mark.filterwarnings("ignore:The classes are separable")
def test_silence_about_separable_classes_is_seen(plain_fit):
    plain_fit.options["C"] = np.inf
    plain_fit.dense[:, 0] = plain_fit.y
    assert _judged(plain_fit, lambda outcome: None) == ["separable not said"]


@pytest.mark.filterwarnings("ignore:The classes are separable")
def test_an_infimum_that_is_missed_is_seen(plain_fit):
    def claim(outcome):
        outcome.messages = ["The classes are separable in part: the objective within 1e-10 of its infimum, relatively"]
        outcome.model.coef_ = outcome.model.coef_ * 0.0

    plain_fit.options["C"] = np.inf
    plain_fit.dense[:, 0] = 0
    plain_fit.dense[1::4, 0] = 1
    assert _judged(plain_fit, claim) == ["infimum missed"]


def test_problems_are_the_same_each_time():
    for seed in range(20):
        first, second = problem(seed), problem(seed)
        assert np.array_equal(first.dense, second.dense)
        assert first.options == second.options
        assert np.all(np.isfinite(first.dense))
