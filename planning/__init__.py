"""What a dataset is like, and what is to be done with it: fingerprint, splits, plan and prepared arrays."""
