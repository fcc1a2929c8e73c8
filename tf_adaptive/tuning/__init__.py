"""Search for the settings of a training, and what it found."""
