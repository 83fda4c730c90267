"""Loss and penalty of logistic regression in the coordinates that solvers use, for two classes and for several."""
