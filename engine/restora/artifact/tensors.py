"""Names of the input and the outputs of every artifact's graph."""

INPUT = "image"
OUTPUT = "restored"
# mean of each channel before clipping and rounding: NaN and Inf stay visible in it
MEANS = "channel_means"

# levels of the mask that a repairer takes as its fourth channel; 0 is not damaged
SEEN_LEVEL = 170  # damaged; what shines through counts
HIDDEN_LEVEL = 255  # damaged; the present color does not count
