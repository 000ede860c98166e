"""Little Monster: a self-hosted AI study platform."""
