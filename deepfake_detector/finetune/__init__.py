"""Pictures → an encoder tuned to tell real from fake, with its head.

batches.py draws what is seen; norms.py and transformer.py learn from it, each a method by the contract of method.py, the latter from what
bases.py gives; model.py makes a finished model of it.
"""
