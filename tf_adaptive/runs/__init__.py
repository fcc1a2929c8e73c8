"""Run directories: written, read, checked and evaluated again."""
