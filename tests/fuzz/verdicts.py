"""What is wrong with the fit of a random problem, in the eyes of `judge`: `examine(seed)`."""

import contextlib
import os
import re
import signal
import time
import warnings
from dataclasses import dataclass, field, replace

import numpy as np
from judge import FINEST, Problem, minimum
from problems import laid_out, problem
from rounding import LONG_SUM
from separation import infimum, separation
from threadpoolctl import threadpool_limits

from fastlogreg import LogisticRegression

# A sanitizer's build takes many times as long.
MOST_CPU_SECONDS = 100.0 if "san.so" in os.environ.get("LD_PRELOAD", "") else 5.0
# Columns that differ from others' combinations by less than this part of their lengths are the same to whoever computes
# in float64: their squares cannot be told apart, and the logits of coefficients that use the difference hardly.
HIDDEN = 1e-10
# What of classes that are separable must be said: that, and a value this near the infimum, if none is claimed.
NEAR_INFIMUM = 1e-6
# How the package's own warnings begin, and what it may refuse.
OWN_WORDS = ("LogisticRegression did not converge", "The classes are separable")
REFUSALS = ("squares overflow",)


@dataclass
class Outcome:
    """What came of the fit of one layout."""

    layout: str
    model: object
    error: Exception | None = None
    seconds: float = 0.0
    messages: list = field(default_factory=list)

    @property
    def says_separable(self):
        return any("separable" in message for message in self.messages)


@dataclass
class Report:
    """Pairs of a kind of violation and a sentence, and notes of what is neither right nor wrong."""

    fit: object
    outcomes: list = field(default_factory=list)
    violations: list = field(default_factory=list)
    notes: list = field(default_factory=list)

    def blame(self, kind, outcome, sentence):
        self.violations.append((kind, f"{outcome.layout}: {sentence}"))

    def __str__(self):
        return "\n".join([str(self.fit), *(f"{kind}: {sentence}" for kind, sentence in self.violations), *self.notes])


@dataclass
class Target:
    """A minimum or infimum that is attained, and what rounding may add to it."""

    best: object
    allowance: float

    def allows(self, gap):
        """The value of a relative gap from here, with rounding: that of a value, a sum over the samples, and that of
        coefficients. Roots of what is above a minimum are distances, which add up.
        """
        value = self.best.value
        return (np.sqrt(gap * value) + np.sqrt(self.allowance)) ** 2 + value * (1 + LONG_SUM)


def examine(seed):
    """The `Report` on one random problem; what is wrong only because coefficients are float32 is named so."""
    fit = problem(seed)
    report = _examined(fit)
    if report.violations and fit.dense.dtype == np.float32:
        in_double = {kind for kind, _ in _examined(replace(fit, dense=fit.dense.astype(np.float64))).violations}
        report.violations = [
            (kind if kind in in_double else f"{kind} in float32", sentence) for kind, sentence in report.violations
        ]
    return report


def _examined(fit):
    report = Report(fit, [_fitted(fit, layout) for layout in fit.layouts])
    for outcome in report.outcomes:
        _examine_conduct(report, outcome)
    judge_fits(report, [outcome for outcome in report.outcomes if outcome.error is None])
    return report


def judge_fits(report, outcomes):
    """Add to a report what is wrong with the solutions of outcomes without an error."""
    if not outcomes:
        return
    # Threads do not pay for matrices so small, where other test processes want the cores as well.
    with np.errstate(all="ignore"), threadpool_limits(1, "blas"):
        posed, is_free = posed_problem(report.fit)
        verdict, found = _separation(posed) if is_free else ("no", None)
        targets = _targets(posed, found, np.finfo(report.fit.dense.dtype).eps)
        if verdict == "undecided" or not any(target.best.is_certain for target in targets):
            report.notes.append(f"undecided: {verdict}")
        for outcome in outcomes:
            _examine_words(report, outcome, verdict)
            _examine_value(report, outcome, posed, targets, verdict)
        if len({outcome.says_separable for outcome in outcomes}) > 1:
            report.blame(
                "layouts disagree", outcomes[0], "the classes are separable in one layout, and not in the other"
            )


def posed_problem(fit):
    """The `judge.Problem` of a fit, and whether it has no penalty."""
    target, weight = fit.target()
    C = fit.options.get("C", 1.0)
    strength = 0.0 if np.isinf(C) else 1 / (np.longdouble(C) * np.sum(weight, dtype=np.longdouble))
    return Problem(fit.dense, target, weight, strength, fit.options.get("fit_intercept", True)), np.isinf(C)


class _TooSlowError(BaseException):
    """Raised in a fit that takes too long; no `Exception`, which a fit might handle."""


@contextlib.contextmanager
def _stopped_after(seconds):
    """Raise `_TooSlowError` in the block after so much CPU time, where the platform has such a timer."""
    if not hasattr(signal, "setitimer"):
        yield
        return

    def stop(signum, frame):
        raise _TooSlowError

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _fitted(fit, layout):
    model = LogisticRegression(**fit.options)
    outcome = Outcome(layout, model)
    began = time.process_time()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            with _stopped_after(1.2 * MOST_CPU_SECONDS):
                if fit.before is not None:
                    values, options = fit.before
                    model.set_params(**options).fit(laid_out(values, layout), fit.y, fit.sample_weight)
                    model.set_params(**fit.options)
                    caught.clear()
                model.fit(laid_out(fit.dense, layout), fit.y, fit.sample_weight)
        except (Exception, _TooSlowError) as error:  # whatever it is, the report shall have it
            outcome.error = error
    outcome.seconds = time.process_time() - began
    outcome.messages = [str(warning.message) for warning in caught]
    return outcome


def _examine_conduct(report, outcome):
    error, model = outcome.error, outcome.model
    if outcome.seconds > MOST_CPU_SECONDS:
        stopped = ", then stopped" if isinstance(error, _TooSlowError) else ""
        report.blame("slow", outcome, f"{outcome.seconds:.1f} s of CPU{stopped}")
    for message in dict.fromkeys(outcome.messages):
        if not message.startswith(OWN_WORDS):
            report.blame("stray warning", outcome, message)
    outcome.messages = [message for message in outcome.messages if message.startswith(OWN_WORDS)]
    if error is None and not (np.all(np.isfinite(model.coef_)) and np.all(np.isfinite(model.intercept_))):
        outcome.error = FloatingPointError("coefficients are not finite")
        report.blame("not finite", outcome, str(outcome.error))
    elif any(words in str(error) for words in REFUSALS):
        report.notes.append(f"refused: {error}")
    elif error is not None and not isinstance(error, _TooSlowError):
        report.blame("exception", outcome, f"{type(error).__name__}: {error}".splitlines()[0])


def _separation(posed):
    """Whether the classes are "separable", "partly", or not ("no"), and the `Separation`; "undecided" where only what
    rounding hides separates them.
    """
    exact, visible = separation(posed), separation(posed, HIDDEN)
    if visible.apart is not None:
        return visible.verdict, visible
    return "no" if exact.verdict == visible.verdict == "no" else "undecided", None


def _targets(posed, found, eps):
    """The `Target` values that a fit is held to: the minimum, and where its coefficients need more bits than floats
    have, minima with columns left alone that differ least.
    """
    targets = []
    for resolution in (FINEST, 1e-12, HIDDEN, 1e-7, 1e-4):
        best = minimum(posed, resolution=resolution) if found is None else infimum(posed, found, resolution)
        targets.append(Target(best, posed.rounding_allowance(best.parameters, eps)))
        if best.value == 0 or (best.is_certain and targets[-1].allowance <= 1e-10 * best.value):
            break
    return [target for target in targets if np.isfinite(target.allowance)]


def _examine_words(report, outcome, verdict):
    said = f"said {outcome.messages[0][:70]!r}" if outcome.messages else "no warning"
    if outcome.says_separable and verdict == "no":
        report.blame("false separable", outcome, f"there is an optimum, {said}")
    is_excused = bool(outcome.messages) and "solver" in report.fit.options  # those not made for it say as much
    if not outcome.says_separable and verdict in ("separable", "partly") and not is_excused:
        report.blame("separable not said", outcome, f"{verdict}, {said}")


def _examine_value(report, outcome, posed, targets, verdict):
    model = outcome.model
    value = posed.value_at(model.coef_, model.intercept_)
    if not targets:
        report.notes.append("the optimum is beyond the range of floats")
        return

    def within(gap):
        return not np.isfinite(gap) or all(value <= target.allows(gap) for target in targets)

    lowest = min(targets, key=lambda target: target.allows(1e-9)).best.value
    size = f"{float(value - lowest):.1e} above {float(lowest):.2e}"
    if verdict in ("separable", "partly"):
        if outcome.says_separable:
            _examine_infimum(report, outcome, value, within, size)
        return
    blamed = len(report.violations)
    said = f"said {outcome.messages[0][:70]!r}" if outcome.messages else "no warning"
    asked = max(model.tol**2 / 10, LONG_SUM)
    if model.gap_proven_ and not within(model.gap_):
        report.blame("proof violated", outcome, f"{size}, gap_ {model.gap_:.1e} proven, {said}")
    elif not outcome.messages and not within(asked):
        report.blame("silently wrong", outcome, f"{size}, gap_ {model.gap_:.1e}, {asked:.0e} asked, no warning")
    elif outcome.messages and not within(10 * model.gap_):
        report.blame("estimate far off", outcome, f"{size}, gap_ {model.gap_:.1e}, {said}")
    elif outcome.messages:
        report.notes.append(f"warned {'at the optimum' if within(asked) else 'short of it'}: {size}, {said}")
    if len(report.violations) > blamed and _is_hidden(posed, value, model):
        kind, sentence = report.violations.pop()
        report.violations.append((kind, f"{sentence} (but where columns 1e-10 apart are taken as the same)"))


def _is_hidden(posed, value, model):
    """Whether a value is right but for what rounding hides."""
    best = minimum(posed, resolution=HIDDEN)
    return value <= Target(best, posed.rounding_allowance(best.parameters, 2**-52)).allows(max(model.gap_, 1e-9))


def _examine_infimum(report, outcome, value, within, size):
    claimed = re.search(r"within ([0-9.e+-]+) of its infimum", outcome.messages[0])
    if claimed and not within(10 * float(claimed[1])):
        report.blame("infimum missed", outcome, f"{size}, said to be within {claimed[1]}")
    elif "unknown distance" in outcome.messages[0]:
        report.notes.append(f"warned of an unknown distance from the infimum: {size}")
    elif not claimed and value > NEAR_INFIMUM and not within(1e-3):
        report.blame("far from infimum", outcome, size)
