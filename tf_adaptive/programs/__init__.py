"""What every program has around its work."""
