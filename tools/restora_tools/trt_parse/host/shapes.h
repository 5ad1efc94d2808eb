// Output shapes of layers, as NvInfer.h of TensorRT 8.6 documents them. -1 is unknown.
#pragma once
#include <algorithm>
#include <cmath>

#include "tensor.h"

using nvinfer1::MatrixOperation;

inline int size_or(Dims const& sizes, int axis, int otherwise) {
  return axis < sizes.nbDims ? sizes.d[axis] : otherwise;
}

// Elementwise: all inputs have one rank, and sizes are equal or 1.
inline Dims broadcast(Layer const& layer, char const* what) {
  Dims joined = layer.shape_of(0);
  for (size_t k = 1; k < layer.count(); ++k) {
    Dims other = layer.shape_of(k);
    bool fits = other.nbDims == joined.nbDims;
    for (int i = 0; fits && i < joined.nbDims; ++i) {
      int a = joined.d[i], b = other.d[i];
      fits = a < 0 || b < 0 || a == b || a == 1 || b == 1;
      joined.d[i] = a == 1 ? b : b == 1 ? a : std::max(a, b);
    }
    if (!fits) report(std::string(what) + " of " + text(layer.shape_of(0)) + " and " + text(other));
  }
  return joined;
}

// Convolution and pooling along one axis; `up` rounds up.
inline int slide(int size, int window, int stride, int padding, int dilation, bool up) {
  if (size < 0) return -1;
  int room = size + padding - (dilation * (window - 1) + 1);
  return (room + (up ? stride - 1 : 0)) / stride + 1;
}

// Explicit paddings before and after win over the symmetric one.
template <class Stored>
int padding_of(Stored const& own, int axis) {
  if (!own.mPrePadding.nbDims && !own.mPostPadding.nbDims)
    return 2 * size_or(own.mPaddingNd, axis, 0);
  return size_or(own.mPrePadding, axis, 0) + size_or(own.mPostPadding, axis, 0);
}

template <class Stored>
Dims convolution_shape(Layer const& layer, Stored const& own) {
  Dims shape = layer.shape_of(0);
  int64_t weights = own.mNbOutputMaps;
  weights *= shape.d[1] / std::max(1, own.mNbGroups);
  for (int i = 0; i < own.mKernelSizeNd.nbDims; ++i) weights *= own.mKernelSizeNd.d[i];
  if (own.mKernelWeights.count && shape.d[1] > 0 && weights != own.mKernelWeights.count)
    report("convolution of " + text(shape) + " with " +
           std::to_string(own.mKernelWeights.count) + " weights instead of " +
           std::to_string(weights));
  for (int i = 0; i + 2 < shape.nbDims; ++i)
    shape.d[i + 2] =
        slide(shape.d[i + 2], own.mKernelSizeNd.d[i], size_or(own.mStrideNd, i, 1),
              padding_of(own, i), size_or(own.mDilationNd, i, 1), false);
  shape.d[1] = own.mNbOutputMaps;
  return shape;
}

template <class Stored>
Dims deconvolution_shape(Layer const& layer, Stored const& own) {
  Dims shape = layer.shape_of(0);
  for (int i = 0; i + 2 < shape.nbDims; ++i)
    if (shape.d[i + 2] > 0)
      shape.d[i + 2] = (shape.d[i + 2] - 1) * size_or(own.mStrideNd, i, 1) +
                       own.mKernelSizeNd.d[i] - padding_of(own, i);
  shape.d[1] = own.mNbOutputMaps;
  return shape;
}

template <class Stored>
Dims pooling_shape(Layer const& layer, Stored const& own) {
  Dims shape = layer.shape_of(0);
  bool up = own.mPaddingMode == nvinfer1::PaddingMode::kEXPLICIT_ROUND_UP;
  for (int i = 0; i + 2 < shape.nbDims; ++i)
    shape.d[i + 2] = slide(shape.d[i + 2], own.mWindowSizeNd.d[i], size_or(own.mStrideNd, i, 1),
                           padding_of(own, i), 1, up);
  return shape;
}

inline Dims concatenation_shape(Layer const& layer, int axis) {
  Dims joined = layer.shape_of(0);
  for (size_t k = 1; k < layer.count(); ++k) {
    Dims other = layer.shape_of(k);
    if (other.nbDims != joined.nbDims) {
      report("concatenation of " + text(joined) + " and " + text(other));
      continue;
    }
    bool known = joined.d[axis] >= 0 && other.d[axis] >= 0;
    joined.d[axis] = known ? joined.d[axis] + other.d[axis] : -1;
  }
  return joined;
}

inline Dims permute(Dims const& shape, nvinfer1::Permutation const& order) {
  Dims permuted = shape;
  for (int i = 0; i < shape.nbDims; ++i) permuted.d[i] = shape.d[order.order[i]];
  return permuted;
}

// A shape from sizes that other layers computed; `rank` is used where nothing is known.
inline Dims shape_from(Values const& sizes, int rank) {
  if (sizes.empty()) return unknown(rank);
  std::vector<int> known;
  for (int64_t size : sizes) known.push_back(size == UNKNOWN ? -1 : static_cast<int>(size));
  return make_dims(known);
}

// Transpose, reshape with placeholders (0: the same size, -1: the rest), transpose.
template <class Stored>
Dims shuffle_shape(Layer const& layer, Stored const& own) {
  Dims from = permute(layer.shape_of(0), own.mFirstTranspose);
  Values to = layer.values_of_input(1);
  if (layer.has(1) && to.empty())
    return permute(unknown(layer.shape_of(1).d[0]), own.mSecondTranspose);
  if (!layer.has(1)) {
    if (own.mReshapeDimensions.nbDims < 0) return permute(from, own.mSecondTranspose);
    to.assign(own.mReshapeDimensions.d,
              own.mReshapeDimensions.d + own.mReshapeDimensions.nbDims);
  }
  int64_t have = 1, want = 1;
  int rest = -1;
  bool known = true;
  for (int i = 0; i < from.nbDims; ++i) known &= from.d[i] >= 0, have *= from.d[i];
  for (size_t i = 0; i < to.size(); ++i) {
    if (to[i] == -1) {
      rest = static_cast<int>(i);
      continue;
    }
    if (to[i] == 0 && own.mZeroIsPlaceholder) to[i] = values_of(from)[i];
    known &= to[i] != UNKNOWN, want *= to[i] == UNKNOWN ? 1 : to[i];
  }
  if (rest >= 0) to[rest] = known && want ? have / want : UNKNOWN;
  Dims shape = shape_from(to, from.nbDims);
  if (known && rest < 0 && have != want) report("reshape of " + text(from) + " to " + text(shape));
  return permute(shape, own.mSecondTranspose);
}

inline Dims reduce_shape(Dims const& from, uint32_t axes, bool keep) {
  std::vector<int> sizes;
  for (int i = 0; i < from.nbDims; ++i)
    if (!(axes >> i & 1))
      sizes.push_back(from.d[i]);
    else if (keep)
      sizes.push_back(1);
  return make_dims(sizes);
}

inline Dims gather_shape(Layer const& layer, int axis) {
  Dims data = layer.shape_of(0), indices = layer.shape_of(1);
  std::vector<int> sizes(data.d, data.d + axis);
  sizes.insert(sizes.end(), indices.d, indices.d + indices.nbDims);
  sizes.insert(sizes.end(), data.d + axis + 1, data.d + data.nbDims);
  return make_dims(sizes);
}

inline Dims product_shape(Layer const& layer, MatrixOperation first, MatrixOperation second) {
  Dims a = layer.shape_of(0), b = layer.shape_of(1);
  bool vectors = first == MatrixOperation::kVECTOR || second == MatrixOperation::kVECTOR;
  if (a.nbDims != b.nbDims || a.nbDims < 2 || vectors) {
    report("matrix product of " + text(a) + " and " + text(b));
    return a;
  }
  int n = a.nbDims;
  if (first == MatrixOperation::kTRANSPOSE) std::swap(a.d[n - 2], a.d[n - 1]);
  if (second == MatrixOperation::kTRANSPOSE) std::swap(b.d[n - 2], b.d[n - 1]);
  if (a.d[n - 1] >= 0 && b.d[n - 2] >= 0 && a.d[n - 1] != b.d[n - 2])
    report("matrix product of " + text(a) + " and " + text(b));
  Dims shape = a;
  for (int i = 0; i + 2 < n; ++i) shape.d[i] = a.d[i] == 1 ? b.d[i] : a.d[i];
  shape.d[n - 1] = b.d[n - 1];
  return shape;
}

inline Dims scaled(Dims shape, std::vector<float> const& scales) {
  for (int i = 0; i < shape.nbDims && i < static_cast<int>(scales.size()); ++i)
    if (shape.d[i] >= 0) shape.d[i] = static_cast<int>(std::floor(shape.d[i] * scales[i]));
  return shape;
}
