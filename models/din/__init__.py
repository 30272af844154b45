"""DIN: the deep interest network."""
