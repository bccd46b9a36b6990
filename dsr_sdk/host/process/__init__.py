"""Processing: the panel of a case's data sources, files attached to it, and the copy that a person receives."""
