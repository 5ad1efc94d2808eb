"""`restora evaluate`: how good restored photos are, against clean ones."""
