"""One file a tab, each with TITLE, ORDER and build(gr, detector)."""
