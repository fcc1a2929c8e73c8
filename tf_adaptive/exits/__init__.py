"""Exits on any functional classifier: where they can stand, and what they are made of."""
