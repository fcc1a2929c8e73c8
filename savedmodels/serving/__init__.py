"""A run as a SavedModel for TF Serving."""
