"""scikit-learn's callbacks (1.9 and later): told of the beginning, of each iteration and of the end of a fit."""

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:  # scikit-learn < 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Nothing to support."""


def begin_callbacks(estimator, X, y, sample_weight):
    """Tell the estimator's callbacks that its fit begins; what is returned tells them the rest."""
    if not (hasattr(estimator, "_skl_callbacks") or hasattr(estimator, "_parent_callback_ctx")):
        return NoCallbacks()
    return Callbacks(estimator, X, y, sample_weight)


class NoCallbacks:
    """Takes the place of `Callbacks` where there are none."""

    def iteration(self, *_):
        return False

    def end(self, _):
        pass


class Callbacks:
    """Tells scikit-learn's callbacks of the beginning, of each iteration and of the end of a fit."""

    def __init__(self, estimator, X, y, sample_weight):
        self._data = {
            "X": X,
            "y": y,
            "metadata": None if sample_weight is None else {"sample_weight": sample_weight},
        }
        self._context = estimator._init_callback_context(max_subtasks=estimator.max_iter)
        self._context.call_on_fit_task_begin(estimator=estimator, **self._data)
        self._open = None

    def iteration(self, estimator, n_iter, objective, point, classes):
        """End the task of iteration n_iter and begin the next one's; returns whether a callback asks to stop."""
        if not getattr(estimator, "_skl_callbacks", None):
            return False

        def fitted():
            coef, intercept = objective.coefficients(point.parameters)
            dtype = self._data["X"].dtype
            return {"coef_": coef.astype(dtype), "intercept_": intercept.astype(dtype), "classes_": classes}

        stop = False
        if self._open is not None:
            stop = self._open.call_on_fit_task_end(estimator=estimator, reconstruction_attributes=fitted, **self._data)
            self._open = None
        if n_iter < estimator.max_iter and not stop:
            self._open = self._context.subcontext(task_name="iteration")
            self._open.call_on_fit_task_begin(estimator=estimator, reconstruction_attributes=fitted, **self._data)
        return stop

    def end(self, estimator):
        if self._open is not None:  # begun for an iteration that was not needed
            self._open.call_on_fit_task_end(estimator=estimator)
        self._context.call_on_fit_task_end(estimator=estimator, reconstruction_attributes={}, **self._data)
