"""Small real things that several tests need: examples, towers, servables."""
