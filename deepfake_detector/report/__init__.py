"""Everything measured about some detectors on one set of pictures, as one HTML page, model cards and JSON."""
