"""What a retrieval servable is asked, and how its answers are judged."""
