"""What may change when a run or a search continues."""

# Where things are, how often they are written, and on how many devices: none of it changes what is
# computed, but for rounding.
MAY_DIFFER = ("run_dir", "data_dir", "resume", "checkpoint_seconds", "strategy")
