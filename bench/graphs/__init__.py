"""Scene graphs: the one type, the layouts they are read from and written to, and how they are cleaned."""
