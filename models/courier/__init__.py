"""COURIER: an image encoder that learns from click histories alone."""
