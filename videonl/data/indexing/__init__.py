"""What is known of a data set: facts and findings of every file, and the index that keeps them."""
