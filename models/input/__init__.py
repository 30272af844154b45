"""Input: from files of transformed timelines to batches."""
