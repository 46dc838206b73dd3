"""A world small enough for a laptop's CPU in which Branch-Merge distillation does what it does at scale."""
