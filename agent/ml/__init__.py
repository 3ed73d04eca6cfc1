"""Models: trained here, evaluated elsewhere (`core/modes/forest.py`). The only importer of lightgbm (the extra `ml`)."""
