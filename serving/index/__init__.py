"""The index over a catalogue: embedded on Beam, built with ScaNN, served by plain ops."""
