// The ONNX parser of TensorRT 8.6 (libnvonnxparser.so.8) reads one file into a network that only
// records: no builder, no CUDA. `host FILE.onnx` prints one JSON object.
#include <NvInfer.h>
#include <NvOnnxParser.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>

#include "shapes.h"
#include "stored.h"  // made by interfaces.py from NvInferImpl.h

using namespace nvinfer1;

namespace {

class Recorder : public StoredNetwork {
 public:
  std::vector<Layer*> layers;
  std::vector<Tensor*> inputs, outputs;

  ITensor* addInput(char const* name, DataType type, Dims shape) noexcept override {
    inputs.push_back(new Tensor(name, type, shape));
    return inputs.back();
  }
  void markOutput(ITensor& tensor) noexcept override {
    outputs.push_back(static_cast<Tensor*>(&tensor));
    outputs.back()->is_output = true;
  }
  int32_t getNbLayers() const noexcept override { return static_cast<int32_t>(layers.size()); }
  ILayer* getLayer(int32_t i) const noexcept override { return faces_[i]; }
  int32_t getNbInputs() const noexcept override { return static_cast<int32_t>(inputs.size()); }
  ITensor* getInput(int32_t i) const noexcept override { return inputs[i]; }
  int32_t getNbOutputs() const noexcept override { return static_cast<int32_t>(outputs.size()); }
  ITensor* getOutput(int32_t i) const noexcept override { return outputs[i]; }
  void setName(char const* name) noexcept override { name_ = name; }
  char const* getName() const noexcept override { return name_.c_str(); }
  bool setWeightsName(Weights, char const*) noexcept override { return true; }

  IConvolutionLayer* addConvolutionNd(ITensor& x, int32_t maps, Dims kernel, Weights weights,
                                      Weights bias) noexcept override {
    auto* made = make<IConvolutionLayer, StoredConvolutionLayer>(LayerType::kCONVOLUTION, {&x});
    fill_kernel(made->own, maps, kernel, weights, bias);
    return shaped(made, convolution_shape<StoredConvolutionLayer>);
  }
  IDeconvolutionLayer* addDeconvolutionNd(ITensor& x, int32_t maps, Dims kernel, Weights weights,
                                          Weights bias) noexcept override {
    auto* made =
        make<IDeconvolutionLayer, StoredDeconvolutionLayer>(LayerType::kDECONVOLUTION, {&x});
    fill_kernel(made->own, maps, kernel, weights, bias);
    return shaped(made, deconvolution_shape<StoredDeconvolutionLayer>);
  }
  IPoolingLayer* addPoolingNd(ITensor& x, PoolingType type, Dims window) noexcept override {
    auto* made = make<IPoolingLayer, StoredPoolingLayer>(LayerType::kPOOLING, {&x});
    made->own.mPoolingType = type, made->own.mWindowSizeNd = window;
    return shaped(made, pooling_shape<StoredPoolingLayer>);
  }
  IActivationLayer* addActivation(ITensor& x, ActivationType type) noexcept override {
    auto* made = make<IActivationLayer, StoredActivationLayer>(LayerType::kACTIVATION, {&x});
    made->own.mActivationType = type;
    return made;
  }
  IUnaryLayer* addUnary(ITensor& x, UnaryOperation operation) noexcept override {
    auto* made = make<IUnaryLayer, StoredUnaryLayer>(LayerType::kUNARY, {&x});
    made->own.mOperation = operation;
    return made;
  }
  ISoftMaxLayer* addSoftMax(ITensor& x) noexcept override {
    return make<ISoftMaxLayer, StoredSoftMaxLayer>(LayerType::kSOFTMAX, {&x});
  }
  IIdentityLayer* addIdentity(ITensor& x) noexcept override {
    return valued(make<IIdentityLayer, StoredIdentityLayer>(LayerType::kIDENTITY, {&x}),
                  [](Layer const& l, auto const&) { return l.values_of_input(0); });
  }
  ICastLayer* addCast(ITensor& x, DataType type) noexcept override {
    auto* made = make<ICastLayer, StoredCastLayer>(LayerType::kCAST, {&x}, type);
    made->own.mToType = type;
    return valued(made, [](Layer const& l, auto const&) { return l.values_of_input(0); });
  }
  IScaleLayer* addScaleNd(ITensor& x, ScaleMode mode, Weights shift, Weights scale, Weights power,
                          int32_t axis) noexcept override {
    auto* made = make<IScaleLayer, StoredScaleLayer>(LayerType::kSCALE, {&x});
    made->own.mMode = mode, made->own.mShift = shift, made->own.mScale = scale;
    made->own.mPower = power, made->own.mChannelAxis = axis;
    return made;
  }
  IScaleLayer* addScale(ITensor& x, ScaleMode mode, Weights shift, Weights scale,
                        Weights power) noexcept override {
    return addScaleNd(x, mode, shift, scale, power, 1);
  }
  IParametricReLULayer* addParametricReLU(ITensor& x, ITensor& slope) noexcept override {
    auto* made = make<IParametricReLULayer, StoredParametricReLULayer>(
        LayerType::kPARAMETRIC_RELU, {&x, &slope});
    return shaped(made, [](Layer const& l, auto const&) { return broadcast(l, "PReLU"); });
  }
  IElementWiseLayer* addElementWise(ITensor& a, ITensor& b,
                                    ElementWiseOperation operation) noexcept override {
    if (a.getType() != b.getType()) report("elementwise operation of two types");
    bool compares = operation == ElementWiseOperation::kEQUAL ||
                    operation == ElementWiseOperation::kGREATER ||
                    operation == ElementWiseOperation::kLESS;
    auto* made = make<IElementWiseLayer, StoredElementWiseLayer>(
        LayerType::kELEMENTWISE, {&a, &b}, compares ? DataType::kBOOL : a.getType());
    made->own.mOperation = operation;
    valued(made, [](Layer const& l, auto const& own) {
      return compute(own.mOperation, l.values_of_input(0), l.values_of_input(1));
    });
    return shaped(made, [](Layer const& l, auto const&) { return broadcast(l, "elementwise"); });
  }
  ISelectLayer* addSelect(ITensor& condition, ITensor& a, ITensor& b) noexcept override {
    auto* made = make<ISelectLayer, StoredSelectLayer>(LayerType::kSELECT, {&condition, &a, &b},
                                                       a.getType());
    valued(made, [](Layer const& l, auto const&) {
      return choose(l.values_of_input(0), l.values_of_input(1), l.values_of_input(2));
    });
    return shaped(made, [](Layer const& l, auto const&) { return broadcast(l, "select"); });
  }
  IConcatenationLayer* addConcatenation(ITensor* const* x, int32_t count) noexcept override {
    auto* made = make<IConcatenationLayer, StoredConcatenationLayer>(LayerType::kCONCATENATION,
                                                                     {x, x + count});
    made->own.mAxis = std::max(0, x[0]->getDimensions().nbDims - 3);
    valued(made, [](Layer const& l, auto const&) {
      Values joined;
      for (size_t i = 0; i < l.count(); ++i) {
        Values part = l.values_of_input(i);
        if (part.empty() || l.shape_of(i).nbDims != 1) return Values{};
        joined.insert(joined.end(), part.begin(), part.end());
      }
      return joined;
    });
    return shaped(made, [](Layer const& l, auto const& own) {
      return concatenation_shape(l, own.mAxis);
    });
  }
  IShuffleLayer* addShuffle(ITensor& x) noexcept override {
    auto* made = make<IShuffleLayer, StoredShuffleLayer>(LayerType::kSHUFFLE, {&x});
    for (int i = 0; i < Dims::MAX_DIMS; ++i)
      made->own.mFirstTranspose.order[i] = made->own.mSecondTranspose.order[i] = i;
    made->own.mReshapeDimensions.nbDims = -1, made->own.mZeroIsPlaceholder = true;
    valued(made, [](Layer const& l, auto const&) {
      return l.shape_of(0).nbDims < 2 ? l.values_of_input(0) : Values{};
    });
    return shaped(made, shuffle_shape<StoredShuffleLayer>);
  }
  IReduceLayer* addReduce(ITensor& x, ReduceOperation operation, uint32_t axes,
                          bool keep) noexcept override {
    auto* made = make<IReduceLayer, StoredReduceLayer>(LayerType::kREDUCE, {&x});
    made->own.mOperation = operation, made->own.mReduceAxes = axes;
    made->own.mKeepDimensions = keep;
    return shaped(made, [](Layer const& l, auto const& own) {
      return reduce_shape(l.shape_of(0), own.mReduceAxes, own.mKeepDimensions);
    });
  }
  IGatherLayer* addGather(ITensor& data, ITensor& indices, int32_t axis) noexcept override {
    auto* made = make<IGatherLayer, StoredGatherLayer>(LayerType::kGATHER, {&data, &indices});
    made->own.mGatherAxis = axis;
    valued(made, [](Layer const& l, auto const&) {
      return l.shape_of(0).nbDims == 1 && !l.values_of_input(0).empty()
                 ? gather(l.values_of_input(0), l.values_of_input(1))
                 : Values{};
    });
    return shaped(made, [](Layer const& l, auto const& own) {
      return gather_shape(l, own.mGatherAxis);
    });
  }
  IGatherLayer* addGatherV2(ITensor& data, ITensor& indices, GatherMode mode) noexcept override {
    if (mode != GatherMode::kDEFAULT) report("a gather mode that is not recorded");
    return addGather(data, indices, 0);
  }
  IMatrixMultiplyLayer* addMatrixMultiply(ITensor& a, MatrixOperation first, ITensor& b,
                                          MatrixOperation second) noexcept override {
    auto* made = make<IMatrixMultiplyLayer, StoredMatrixMultiplyLayer>(
        LayerType::kMATRIX_MULTIPLY, {&a, &b});
    return shaped(made, [first, second](Layer const& l, auto const&) {
      return product_shape(l, first, second);
    });
  }
  IConstantLayer* addConstant(Dims shape, Weights weights) noexcept override {
    auto* made =
        make<IConstantLayer, StoredConstantLayer>(LayerType::kCONSTANT, {}, weights.type);
    made->own.mDimensions = shape, made->own.mWeights = weights;
    valued(made, [](Layer const&, auto const& own) { return values_of(own.mWeights); });
    return shaped(made, [](Layer const&, auto const& own) { return own.mDimensions; });
  }
  ISliceLayer* addSlice(ITensor& x, Dims start, Dims size, Dims stride) noexcept override {
    auto* made = make<ISliceLayer, StoredSliceLayer>(LayerType::kSLICE, {&x});
    made->own.mStart = start, made->own.mSize = size, made->own.mStride = stride;
    valued(made, [](Layer const& l, auto const& own) {
      return slice(l.values_of_input(0),
                   l.has(1) ? l.values_of_input(1) : values_of(own.mStart),
                   l.has(2) ? l.values_of_input(2) : values_of(own.mSize),
                   l.has(3) ? l.values_of_input(3) : values_of(own.mStride));
    });
    return shaped(made, [](Layer const& l, auto const& own) {
      if (l.has(2)) return shape_from(l.values_of_input(2), l.shape_of(0).nbDims);
      return own.mSize.nbDims ? own.mSize : l.shape_of(0);
    });
  }
  ITopKLayer* addTopK(ITensor& x, TopKOperation operation, int32_t k,
                      uint32_t axes) noexcept override {
    auto* made = make<ITopKLayer, StoredTopKLayer>(LayerType::kTOPK, {&x}, {}, 2);
    made->own.mOperation = operation, made->own.mK = k, made->own.mReduceAxes = axes;
    made->layer.getOutput(1)->setType(DataType::kINT32);
    return shaped(made, [](Layer const& l, auto const& own) {
      Dims shape = l.shape_of(0);
      for (int i = 0; i < shape.nbDims; ++i)
        if (own.mReduceAxes >> i & 1) shape.d[i] = own.mK;
      return shape;
    });
  }
  IShapeLayer* addShape(ITensor& x) noexcept override {
    auto* made = make<IShapeLayer, StoredShapeLayer>(LayerType::kSHAPE, {&x}, DataType::kINT32);
    valued(made, [](Layer const& l, auto const&) { return values_of(l.shape_of(0)); });
    return shaped(made, [](Layer const& l, auto const&) {
      return make_dims({l.shape_of(0).nbDims});
    });
  }
  IResizeLayer* addResize(ITensor& x) noexcept override {
    auto* made = make<IResizeLayer, ScaledResizeLayer>(LayerType::kRESIZE, {&x});
    return shaped(made, [](Layer const& l, auto const& own) {
      if (l.has(1)) return shape_from(l.values_of_input(1), l.shape_of(0).nbDims);
      if (own.mOutputDimensions.nbDims) return own.mOutputDimensions;
      return scaled(l.shape_of(0), own.scales);
    });
  }
  IQuantizeLayer* addQuantize(ITensor& x, ITensor& scale) noexcept override {
    return make<IQuantizeLayer, StoredQuantizeLayer>(LayerType::kQUANTIZE, {&x, &scale},
                                                     DataType::kINT8);
  }
  IDequantizeLayer* addDequantize(ITensor& x, ITensor& scale) noexcept override {
    return make<IDequantizeLayer, StoredDequantizeLayer>(LayerType::kDEQUANTIZE, {&x, &scale},
                                                         DataType::kFLOAT);
  }

 private:
  struct ScaledResizeLayer : StoredResizeLayer {
    std::vector<float> scales;
    void setScales(float const* values, int32_t count) noexcept override {
      scales.assign(values, values + count);
    }
    int32_t getScales(int32_t size, float* values) const noexcept override {
      std::copy_n(scales.begin(), std::min<size_t>(size, scales.size()), values);
      return static_cast<int32_t>(scales.size());
    }
  };
  // a type that is not given is that of the first input
  struct OptionalType {
    OptionalType() = default;
    OptionalType(DataType given) : type(given), given(true) {}
    DataType type{};
    bool given = false;
  };

  template <class Face, class Stored>
  Recorded<Face, Stored>* make(LayerType kind, std::vector<ITensor*> x, OptionalType type = {},
                               int count = 1) {
    auto* made = new Recorded<Face, Stored>;
    Layer::Type of;
    if (type.given) of = [type](Layer const&) { return type.type; };
    made->layer.start(kind, x, [](Layer const& l) { return l.shape_of(0); }, of, count);
    std::string name = "layer " + std::to_string(layers.size());
    made->layer.setName(name.c_str());
    for (int i = 0; i < count; ++i)
      made->layer.getOutput(i)->setName((name + " output " + std::to_string(i)).c_str());
    layers.push_back(&made->layer), faces_.push_back(made);
    return made;
  }
  template <class Face, class Stored, class Rule>
  Recorded<Face, Stored>* shaped(Recorded<Face, Stored>* made, Rule rule) {
    made->layer.set_shape([made, rule](Layer const& l) { return rule(l, made->own); });
    return made;
  }
  template <class Face, class Stored, class Rule>
  Recorded<Face, Stored>* valued(Recorded<Face, Stored>* made, Rule rule) {
    made->layer.set_values([made, rule](Layer const& l) { return rule(l, made->own); });
    return made;
  }
  template <class Stored>
  static void fill_kernel(Stored& own, int32_t maps, Dims kernel, Weights weights, Weights bias) {
    own.mNbOutputMaps = maps, own.mKernelSizeNd = kernel, own.mNbGroups = 1;
    own.mKernelWeights = weights, own.mBiasWeights = bias;
  }

  std::vector<ILayer*> faces_;
  std::string name_;
};

struct Network : INetworkDefinition {
  explicit Network(Recorder* recorder) { mImpl = recorder; }
};

struct Log : ILogger {
  std::map<std::string, int> lines;
  void log(Severity severity, char const* line) noexcept override {
    if (severity <= Severity::kWARNING) lines[line]++;
  }
};

std::string quote(std::string const& plain) {
  std::string quoted = "\"";
  for (unsigned char c : plain) {
    char escaped[8];
    if (c < 0x20)
      std::snprintf(escaped, sizeof escaped, "\\u%04x", c), quoted += escaped;
    else
      quoted += c == '"' || c == '\\' ? std::string("\\") + char(c) : std::string(1, char(c));
  }
  return quoted + "\"";
}

std::string counts(std::map<std::string, int> const& found) {
  std::string joined;
  for (auto const& [name, count] : found)
    joined += (joined.empty() ? "" : ", ") + quote(name) + ": " + std::to_string(count);
  return "{" + joined + "}";
}

std::string tensors(std::vector<Tensor*> const& list) {
  char const* types[] = {"float32", "float16", "int8", "int32", "bool", "uint8", "fp8"};
  std::string joined;
  for (auto* tensor : list) {
    std::string shape = text(tensor->getDimensions());
    shape.front() = '[', shape.back() = ']';
    joined += (joined.empty() ? "" : ", ") + quote(tensor->getName()) + ": {\"shape\": " + shape +
              ", \"type\": " + quote(types[static_cast<int>(tensor->getType())]) + "}";
  }
  return "{" + joined + "}";
}

}  // namespace

int main(int count, char** words) {
  if (count != 2) return std::fprintf(stderr, "usage: host FILE.onnx\n"), 2;
  std::ifstream stream(words[1], std::ios::binary);
  std::string model((std::istreambuf_iterator<char>(stream)), {});
  Recorder recorder;
  Network network(&recorder);
  Log log;
  auto* parser = static_cast<nvonnxparser::IParser*>(
      createNvOnnxParser_INTERNAL(&network, &log, getNvOnnxParserVersion()));
  bool parsed = parser && parser->parse(model.data(), model.size());
  std::map<std::string, int> errors, layers;
  for (int i = 0; parser && i < parser->getNbErrors(); ++i) {
    auto const* error = parser->getError(i);
    errors["node " + std::to_string(error->node()) + ": " + error->desc()]++;
  }
  for (auto* layer : recorder.layers) layers[layer_name(layer->getType())]++;
  std::string shown_inputs = tensors(recorder.inputs), shown_outputs = tensors(recorder.outputs);
  std::printf(
      "{\"parsed\": %s, \"errors\": %s, \"log\": %s, \"faults\": %s, \"layers\": %s, "
      "\"inputs\": %s, \"outputs\": %s}\n",
      parsed ? "true" : "false", counts(errors).c_str(), counts(log.lines).c_str(),
      counts(faults()).c_str(), counts(layers).c_str(), shown_inputs.c_str(),
      shown_outputs.c_str());
  std::fflush(stdout);
  std::_Exit(0);  // the parser's own clean-up expects a builder
}
