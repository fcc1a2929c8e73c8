"""What may change when a run or a search continues."""

# Where things are, how often they are written, and on what is computed: none of it changes what is,
# but for rounding.
MAY_DIFFER = (
    *("run_dir", "data_dir", "resume", "checkpoint_seconds", "precision_anyway"),
    *("strategy", "jit_compile"),
)
