"""A run as TFLite files, and what runs them."""
