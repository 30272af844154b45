"""Layers, one public class a file; the formula is in its docstring."""
