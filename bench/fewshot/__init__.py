"""Few-shot segmentation: meta-training on sources, adapting to a target."""
