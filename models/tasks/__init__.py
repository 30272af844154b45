"""What is learned: tasks, and the negatives that they learn from."""
