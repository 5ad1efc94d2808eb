"""Train and fine-tune the networks that restora runs."""
