"""Image features: vectors of the catalogue's images, and clusters of them, as declared fields."""
