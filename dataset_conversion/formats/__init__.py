"""One module a format: each has `read_source(folder, ...) -> Source`. `dataset_conversion.registry` names them."""
