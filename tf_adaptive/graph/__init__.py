"""Functional Keras graphs: their calls walked and rewritten, and what they cost."""
