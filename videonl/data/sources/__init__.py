"""The forms that a data set may come in: class folders, lists, the Kinetics CSV, an index file, shards."""
