"""Sets of images: files and archives, decoding, protocols, feature extractors, cached features."""
