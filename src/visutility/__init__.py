"""VisuTility."""
