"""Public models in other frameworks, each a process of its own, to measure ours against."""
