"""Photos by the million: one callable for every engine that maps functions over batches."""

from restora.cluster.batch import BatchRecipe, RestoreBatch

__all__ = ["BatchRecipe", "RestoreBatch"]
