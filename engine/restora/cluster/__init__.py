"""Many photos on many machines: RestoreBatch for any engine that maps functions over batches, and
restore_on_cluster, which runs it on Ray."""

from restora.cluster.batch import BatchRecipe, RestoreBatch
from restora.cluster.options import ClusterOptions, ClusterProgress
from restora.cluster.restore import restore_on_cluster

__all__ = [
    "BatchRecipe",
    "ClusterOptions",
    "ClusterProgress",
    "RestoreBatch",
    "restore_on_cluster",
]
