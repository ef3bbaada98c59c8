"""The made-up data set, whose labels relate two distant places in spacetime."""
