"""Pages to read, print and pass on: one HTML file each, which needs no other."""
