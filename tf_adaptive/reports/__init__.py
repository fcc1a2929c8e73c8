"""What the reports of exits and of routing share."""
