"""Smaller and faster forms of a network: folded, quantized, pruned."""
