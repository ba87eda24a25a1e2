"""One file a tab, each with TITLE, ORDER and build(gr, detector, taught).

`taught` holds the panel whose first model this visitor has taught, None for as long as it is the one that all share. It is kept for
TAUGHT_KEPT seconds; less where the visitor leaves.
"""

TAUGHT_KEPT = 2 * 3600
