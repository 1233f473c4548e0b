"""The networks: names, weights files, and stages that can be tapped."""
