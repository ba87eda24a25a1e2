"""Tell real pictures from generated ones: CLIP embeddings, a small calibrated head, one verdict behind every door."""

__version__ = "0.1.0"
