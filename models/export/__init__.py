"""Exported models: signatures of the SavedModels that each stage serves."""
