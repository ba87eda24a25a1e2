"""Pictures → an encoder tuned to tell real from fake, with its head: batches.py, norms.py and model.py, in this order."""
