"""Commands on a cluster. They need the extra `operator`, so they are imported only where a cluster is meant."""
