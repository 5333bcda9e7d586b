"""Converters of public datasets, and of made-up phantoms, to the nnU-Net v2 raw format."""
