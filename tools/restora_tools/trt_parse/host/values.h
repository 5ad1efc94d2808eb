// Values of small integer tensors, from which the parser computes sizes: shapes and what is made of
// them. TensorRT's builder evaluates them likewise.
#pragma once
#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include <NvInfer.h>

// No element: the values are not known. UNKNOWN: one value is not, such as a dynamic size.
using Values = std::vector<int64_t>;
constexpr int64_t UNKNOWN = std::numeric_limits<int64_t>::min();

inline Values values_of(nvinfer1::Dims const& shape) {
  Values values;
  for (int i = 0; i < shape.nbDims; ++i) values.push_back(shape.d[i] < 0 ? UNKNOWN : shape.d[i]);
  return values;
}

inline Values values_of(nvinfer1::Weights const& weights) {
  if (weights.type != nvinfer1::DataType::kINT32 || weights.count > 64) return {};
  auto const* first = static_cast<int32_t const*>(weights.values);
  return Values(first, first + weights.count);
}

inline int64_t compute(nvinfer1::ElementWiseOperation operation, int64_t a, int64_t b) {
  using Operation = nvinfer1::ElementWiseOperation;
  if (a == UNKNOWN || b == UNKNOWN) return UNKNOWN;
  bool divides = operation == Operation::kDIV || operation == Operation::kFLOOR_DIV;
  if (divides && b == 0) return UNKNOWN;
  switch (operation) {
    case Operation::kSUM: return a + b;
    case Operation::kSUB: return a - b;
    case Operation::kPROD: return a * b;
    case Operation::kMAX: return std::max(a, b);
    case Operation::kMIN: return std::min(a, b);
    case Operation::kDIV: return a / b;
    case Operation::kFLOOR_DIV: return a / b - (a % b != 0 && (a < 0) != (b < 0));
    case Operation::kEQUAL: return a == b;
    case Operation::kGREATER: return a > b;
    case Operation::kLESS: return a < b;
    default: return UNKNOWN;
  }
}

inline Values compute(nvinfer1::ElementWiseOperation operation, Values const& a, Values const& b) {
  if (a.empty() || b.empty()) return {};
  Values values;
  for (size_t i = 0; i < std::max(a.size(), b.size()); ++i)
    values.push_back(compute(operation, a[a.size() == 1 ? 0 : i], b[b.size() == 1 ? 0 : i]));
  return values;
}

inline Values gather(Values const& data, Values const& indices) {
  Values values;
  for (int64_t index : indices) {
    int64_t at = index < 0 && index != UNKNOWN ? index + static_cast<int64_t>(data.size()) : index;
    bool inside = at >= 0 && at < static_cast<int64_t>(data.size());
    values.push_back(inside ? data[at] : UNKNOWN);
  }
  return values;
}

inline Values slice(Values const& data, Values const& start, Values const& size,
                    Values const& stride) {
  if (start.size() != 1 || size.size() != 1 || stride.size() != 1) return {};
  if (start[0] == UNKNOWN || size[0] == UNKNOWN || stride[0] == UNKNOWN) return {};
  Values indices;
  for (int64_t i = 0; i < size[0]; ++i) indices.push_back(start[0] + i * stride[0]);
  return gather(data, indices);
}

inline Values choose(Values const& condition, Values const& a, Values const& b) {
  if (condition.empty() || a.empty() || b.empty()) return {};
  Values values;
  for (size_t i = 0; i < std::max({condition.size(), a.size(), b.size()}); ++i) {
    int64_t chosen = condition[condition.size() == 1 ? 0 : i];
    int64_t first = a[a.size() == 1 ? 0 : i], second = b[b.size() == 1 ? 0 : i];
    values.push_back(chosen == UNKNOWN ? UNKNOWN : chosen ? first : second);
  }
  return values;
}
