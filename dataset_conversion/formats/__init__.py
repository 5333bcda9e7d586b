"""One module a format: how to read it, and what users are told of it. `dataset_conversion.registry` lists them."""
