"""Measurements: what fastlogreg takes, beside others and beside what the machine can do."""
