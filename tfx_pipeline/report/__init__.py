"""Reports of runs: pages and model cards from what TFX and TFMA left behind."""
