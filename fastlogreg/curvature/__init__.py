"""What is known of a Hessian: factored, secant pairs, a sample's, blocks of classes, sparse."""
