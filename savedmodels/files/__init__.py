"""Any number of pictures from files, and their answers into files."""
