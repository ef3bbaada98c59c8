"""From a file to its exact frames: readers, packets, frame tables."""
