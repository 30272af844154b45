"""ScaNN's files, in one part or several, and the search in them."""
