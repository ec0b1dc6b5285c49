"""Networks as data: layers in order, their first weights, and the way through them in NumPy."""
