"""Deep network interpolation: blend the weights of two networks.

Wang et al., Deep Network Interpolation, arXiv:1811.10515.
"""

import hashlib

from restora.errors import CheckpointError, OptionError
from restora_export.checkpoint import Checkpoint


def interpolate_checkpoints(first: Checkpoint, second: Checkpoint, share: float) -> Checkpoint:
    """Blend every tensor: (1 - share) * first + share * second.

    share: weight of the second checkpoint, 0..1

    For realesr-general-x4v3, a denoise strength s is a share of 1 - s of realesr-general-wdn-x4v3.
    Raises CheckpointError, with the first difference, if the architectures differ.
    """
    if not 0 <= share <= 1:
        raise OptionError(f"the share of the second checkpoint must be in 0..1, got {share}")
    if first.architecture != second.architecture:
        raise CheckpointError(
            f"only networks of the same architecture can be blended: {first.name} is "
            f"{first.architecture}, {second.name} is {second.architecture}"
        )
    for key, tensor in first.state.items():
        if second.state[key].shape != tensor.shape:
            raise CheckpointError(
                f"{key} has shape {tuple(tensor.shape)} in {first.name} and "
                f"{tuple(second.state[key].shape)} in {second.name}"
            )
    state = {
        key: (1 - share) * tensor + share * second.state[key] for key, tensor in first.state.items()
    }
    text = f"{first.sha256} {1 - share!r} {second.sha256} {share!r}"
    digest = hashlib.sha256(text.encode()).hexdigest()
    name = f"{first.name}+{second.name}:{share:g}"
    licenses = {first.license, second.license}
    joint = "" if "" in licenses else " AND ".join(sorted(licenses))
    return Checkpoint(name, first.architecture, digest, state, joint)
