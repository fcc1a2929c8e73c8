"""What trainers.tune searches, for each kind of network."""
