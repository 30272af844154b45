"""Publishing: versions of servables, labels, and the files that servers read."""
