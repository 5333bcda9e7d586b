"""Experts and mixtures as things to list, share as one file, install, remove and check."""
