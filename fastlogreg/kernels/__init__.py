"""C block primitives, one source per instruction set, and the choice among them."""
