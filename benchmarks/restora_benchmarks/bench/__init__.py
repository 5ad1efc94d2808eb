"""`restora bench`: models x runtimes x precisions x tiles x batches, accuracy beside speed."""
