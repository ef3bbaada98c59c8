"""Re-encoding videos for training, and packing them into shards."""
