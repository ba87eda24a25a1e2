"""Places that pictures come from: one file a place, each with a function `samples(root)` that yields labelled samples."""
