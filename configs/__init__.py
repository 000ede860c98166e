"""Values only: what the graph and the machines run with. No code."""
