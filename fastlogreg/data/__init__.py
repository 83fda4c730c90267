"""The matrix X, the samples and the passes over them: the only layer that knows how X lies in memory, and the only
holder of vectors of n numbers.
"""
