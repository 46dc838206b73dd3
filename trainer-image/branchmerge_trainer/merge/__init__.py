"""One step of a recipe: models -> one model, by mergekit."""
