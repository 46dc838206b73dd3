"""What the names of a job's inputs stand for at this moment."""
