"""What may change when a run or a search continues."""

# Where things are, and how often they are written: none of it changes what is computed.
MAY_DIFFER = ("run_dir", "data_dir", "resume", "checkpoint_seconds")
