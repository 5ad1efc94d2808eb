"""ncnn: networks as .param and .bin files, on the CPU (Winograd) or on any GPU with Vulkan."""
