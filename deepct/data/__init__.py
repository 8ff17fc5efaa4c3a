"""From folders of photos to batches."""
