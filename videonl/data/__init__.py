"""From video files to batches of clips: index, decode, sample, transform, load. Nothing here knows a model."""
