"""The page that runs a converted network in a browser."""
