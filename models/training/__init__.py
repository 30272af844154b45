"""Training: the learner, optimisers, replicas, callbacks and checkpoints."""
