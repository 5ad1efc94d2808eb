// A tensor and a layer that remember what the parser sets. Shapes are inferred when they are asked
// for, and kept from the moment when another layer reads the tensor.
#pragma once
#include <NvInfer.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "values.h"

using nvinfer1::DataType;
using nvinfer1::Dims;
using nvinfer1::ITensor;
using nvinfer1::LayerType;

// What is wrong with a graph, with the number of times.
inline std::map<std::string, int>& faults() {
  static std::map<std::string, int> found;
  return found;
}
inline void report(std::string const& fault) { faults()[fault]++; }

inline std::string text(Dims const& shape) {
  std::string joined;
  for (int i = 0; i < shape.nbDims; ++i) joined += (i ? "," : "") + std::to_string(shape.d[i]);
  return "(" + joined + ")";
}

inline Dims make_dims(std::vector<int> const& sizes) {
  Dims shape{};
  shape.nbDims = static_cast<int>(sizes.size());
  for (size_t i = 0; i < sizes.size(); ++i) shape.d[i] = sizes[i];
  return shape;
}

inline Dims unknown(int rank) { return make_dims(std::vector<int>(rank, -1)); }

class Layer;

class Tensor : public ITensor, public nvinfer1::apiv::VTensor {
 public:
  Tensor(Layer* maker, int index) : maker_(maker), index_(index) { mImpl = this; }
  Tensor(char const* name, DataType type, Dims shape)
      : name_(name), type_(type), typed_(true), shape_(shape), known_(true), is_input_(true) {
    mImpl = this;
  }

  void keep_shape() {
    if (!known_) shape_ = infer_shape(), known_ = true;
    if (!valued_) values_ = infer_values(), valued_ = true;
  }
  Values const& values() const { return values_; }

  void setName(char const* name) noexcept override { name_ = name; }
  char const* getName() const noexcept override { return name_.c_str(); }
  void setDimensions(Dims shape) noexcept override { shape_ = shape, known_ = true; }
  Dims getDimensions() const noexcept override { return known_ ? shape_ : infer_shape(); }
  void setType(DataType type) noexcept override { type_ = type, typed_ = true; }
  DataType getType() const noexcept override;
  bool isNetworkInput() const noexcept override { return is_input_; }
  bool isNetworkOutput() const noexcept override { return is_output; }
  void setAllowedFormats(nvinfer1::TensorFormats formats) noexcept override { formats_ = formats; }
  nvinfer1::TensorFormats getAllowedFormats() const noexcept override { return formats_; }
  bool isExecutionTensor() const noexcept override { return true; }
  void setDimensionName(int32_t axis, char const* name) noexcept override { axes_[axis] = name; }
  char const* getDimensionName(int32_t axis) const noexcept override {
    auto found = axes_.find(axis);
    return found == axes_.end() ? nullptr : found->second.c_str();
  }
  // what only the builder and implicit batches need
  bool setDynamicRange(float, float) noexcept override { return true; }
  void setBroadcastAcrossBatch(bool) noexcept override {}
  bool getBroadcastAcrossBatch() const noexcept override { return false; }
  nvinfer1::TensorLocation getLocation() const noexcept override { return {}; }
  void setLocation(nvinfer1::TensorLocation) noexcept override {}
  bool dynamicRangeIsSet() const noexcept override { return false; }
  void resetDynamicRange() noexcept override {}
  float getDynamicRangeMin() const noexcept override { return 0; }
  float getDynamicRangeMax() const noexcept override { return 0; }
  bool isShapeTensor() const noexcept override { return false; }

  bool is_output = false;

 private:
  Dims infer_shape() const;
  Values infer_values() const;

  std::string name_;
  Layer* maker_ = nullptr;
  int index_ = 0;
  DataType type_ = DataType::kFLOAT;
  bool typed_ = false;
  Dims shape_{};
  bool known_ = false;
  Values values_;
  bool valued_ = false;
  bool is_input_ = false;
  nvinfer1::TensorFormats formats_ = 1;
  std::map<int, std::string> axes_;
};

class Layer : public nvinfer1::apiv::VLayer {
 public:
  // shape: of the first output. type: of all outputs; none if it is that of the first input
  using Shape = std::function<Dims(Layer const&)>;
  using Type = std::function<DataType(Layer const&)>;
  using Compute = std::function<Values(Layer const&)>;

  void start(LayerType kind, std::vector<ITensor*> inputs, Shape shape, Type type, int outputs) {
    kind_ = kind, shape_ = std::move(shape), type_ = std::move(type);
    for (auto* input : inputs) read(input);
    for (int i = 0; i < outputs; ++i) outputs_.push_back(new Tensor(this, i));
  }

  void set_shape(Shape shape) { shape_ = std::move(shape); }
  void set_values(Compute values) { values_ = std::move(values); }

  Dims shape_of(size_t input) const { return inputs_[input]->getDimensions(); }
  Values values_of_input(size_t input) const {
    return has(input) ? static_cast<Tensor*>(inputs_[input])->values() : Values{};
  }
  Values infer_values() const { return values_ ? values_(*this) : Values{}; }
  bool has(size_t input) const { return input < inputs_.size() && inputs_[input]; }
  size_t count() const { return inputs_.size(); }
  Dims infer_shape() const { return shape_(*this); }
  DataType infer_type(int index) const {
    auto found = set_types_.find(index);
    if (found != set_types_.end()) return found->second;
    if (type_) return type_(*this);
    return inputs_.empty() ? DataType::kFLOAT : inputs_[0]->getType();
  }

  LayerType getType() const noexcept override { return kind_; }
  void setName(char const* name) noexcept override { name_ = name; }
  char const* getName() const noexcept override { return name_.c_str(); }
  int32_t getNbInputs() const noexcept override { return static_cast<int32_t>(inputs_.size()); }
  ITensor* getInput(int32_t i) const noexcept override { return has(i) ? inputs_[i] : nullptr; }
  int32_t getNbOutputs() const noexcept override { return static_cast<int32_t>(outputs_.size()); }
  ITensor* getOutput(int32_t i) const noexcept override {
    return i < getNbOutputs() ? outputs_[i] : nullptr;
  }
  void setInput(int32_t i, ITensor& tensor) noexcept override {
    if (getNbInputs() <= i) inputs_.resize(i + 1);
    inputs_[i] = nullptr;
    static_cast<Tensor&>(tensor).keep_shape();
    inputs_[i] = &tensor;
  }
  void setPrecision(DataType type) noexcept override { precision_ = type, precise_ = true; }
  DataType getPrecision() const noexcept override { return precision_; }
  bool precisionIsSet() const noexcept override { return precise_; }
  void resetPrecision() noexcept override { precise_ = false; }
  void setOutputType(int32_t i, DataType type) noexcept override { set_types_[i] = type; }
  DataType getOutputType(int32_t i) const noexcept override { return infer_type(i); }
  bool outputTypeIsSet(int32_t i) const noexcept override { return set_types_.count(i) > 0; }
  void resetOutputType(int32_t i) noexcept override { set_types_.erase(i); }
  void setMetadata(char const* metadata) noexcept override { metadata_ = metadata; }
  char const* getMetadata() const noexcept override { return metadata_.c_str(); }

 private:
  void read(ITensor* tensor) {
    static_cast<Tensor*>(tensor)->keep_shape();
    inputs_.push_back(tensor);
  }

  LayerType kind_{};
  std::string name_, metadata_;
  std::vector<ITensor*> inputs_;
  std::vector<Tensor*> outputs_;
  Shape shape_;
  Type type_;
  Compute values_;
  DataType precision_{};
  bool precise_ = false;
  std::map<int, DataType> set_types_;
};

inline Dims Tensor::infer_shape() const { return maker_ ? maker_->infer_shape() : shape_; }
inline Values Tensor::infer_values() const {
  return maker_ && index_ == 0 ? maker_->infer_values() : Values{};
}
inline DataType Tensor::getType() const noexcept {
  return typed_ || !maker_ ? type_ : maker_->infer_type(index_);
}

// The public face of a layer, such as IConvolutionLayer, over what is stored for it.
template <class Face, class Stored>
class Recorded : public Face {
 public:
  Recorded() {
    this->mLayer = &layer;
    this->mImpl = &own;
  }
  Layer layer;
  Stored own;
};
