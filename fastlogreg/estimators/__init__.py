"""scikit-learn's contract: parameters, validation and classes in; coefficients and gaps out. No arithmetic on X."""
