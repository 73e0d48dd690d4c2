"""One module for each format that a run is written in."""
