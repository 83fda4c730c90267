"""What is known of a Hessian: its factor, secant pairs, its blocks from a sample of the rows, its sparse matrix."""
