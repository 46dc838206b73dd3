"""Everything that the stages found -> a model card, one HTML page, and the same as data."""
