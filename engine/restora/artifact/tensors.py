"""Names of the input and the outputs of every artifact's graph."""

INPUT = "image"
OUTPUT = "restored"
# mean of each channel before clipping and rounding: NaN and Inf stay visible in it
MEANS = "channel_means"
