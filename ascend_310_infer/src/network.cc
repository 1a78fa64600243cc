#include "inc/network.h"

#include <cstring>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <system_error>

#include "include/api/context.h"

namespace infer {

const std::vector<std::string> kOutputNames = {"id_logits", "color_logits", "type_logits",
                                               "embedding"};

namespace {

constexpr char kImageName[] = "image";
constexpr char kKeypointName[] = "keypoints";
constexpr size_t kImageRank = 4;
constexpr size_t kKeypointRank = 2;

std::string ShapeText(const std::vector<int64_t> &shape) {
  std::string text = "(";
  for (size_t i = 0; i < shape.size(); ++i) {
    text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  }
  return text + ")";
}

std::string Describe(const std::vector<mindspore::MSTensor> &tensors) {
  std::string text;
  for (const auto &tensor : tensors) {
    text += (text.empty() ? "" : ", ") + tensor.Name() + " " + ShapeText(tensor.Shape());
  }
  return text;
}

std::shared_ptr<mindspore::Context> CreateContext(const Arguments &arguments) {
  auto context = std::make_shared<mindspore::Context>();
  if (arguments.threads > 0) {
    context->SetThreadNum(arguments.threads);
  }
  if (arguments.device_target == "Ascend") {
    auto device = std::make_shared<mindspore::AscendDeviceInfo>();
    device->SetDeviceID(arguments.device_id);
    context->MutableDeviceInfo().push_back(device);
  } else {
    context->MutableDeviceInfo().push_back(std::make_shared<mindspore::CPUDeviceInfo>());
  }
  return context;
}

}  // namespace

Network::Network(const Arguments &arguments)
    : path_(arguments.mindir_path.string()) {
  std::error_code error;
  const auto size = std::filesystem::file_size(arguments.mindir_path, error);
  if (error || size == 0) {
    throw std::runtime_error("cannot read the model " + path_ + ": " +
                             (error ? error.message() : "the file is empty") +
                             "; give the path of an exported model");
  }
  // On CPU there is one device, 0; another number would be ignored without a word.
  if (arguments.device_target == "CPU" && arguments.device_id != 0) {
    throw std::runtime_error("there is no CPU device " + std::to_string(arguments.device_id) +
                             "; use --device_id 0");
  }
  const auto status = model_.Build(path_, mindspore::kMindIR, CreateContext(arguments));
  if (status != mindspore::kSuccess) {
    const bool ascend = arguments.device_target == "Ascend";
    throw std::runtime_error(
        "the runtime does not load " + path_ + " on " + arguments.device_target +
        (ascend ? " device " + std::to_string(arguments.device_id) : "") + ": " +
        status.ToString() + " Either the file is damaged or of a version that this runtime does " +
        "not read (convert the exported .onnx file with out/convert)" +
        (ascend ? ", or there is no such device or driver." : "."));
  }
  FindInputs();
  CheckBatch(arguments.batch);
  FindOutputs(model_.GetOutputs());
}

void Network::FindInputs() {
  inputs_ = model_.GetInputs();
  if (inputs_.size() != 2) {
    throw std::runtime_error(path_ + " must have two inputs, image and keypoints; it has " +
                             std::to_string(inputs_.size()) + ": " + Describe(inputs_));
  }
  // A model that lost the names in conversion still tells the two apart by their rank.
  const bool named = (inputs_[0].Name() == kImageName && inputs_[1].Name() == kKeypointName) ||
                     (inputs_[0].Name() == kKeypointName && inputs_[1].Name() == kImageName);
  const bool image_first =
      named ? inputs_[0].Name() == kImageName : inputs_[0].Shape().size() == kImageRank;
  image_at_ = image_first ? 0 : 1;
  keypoint_at_ = 1 - image_at_;
  bool fits = inputs_[image_at_].Shape().size() == kImageRank &&
              inputs_[keypoint_at_].Shape().size() == kKeypointRank;
  for (const auto &input : inputs_) {
    fits = fits && input.DataType() == mindspore::DataType::kNumberTypeFloat32;
    for (size_t i = 1; i < input.Shape().size(); ++i) {
      fits = fits && input.Shape()[i] > 0;
    }
  }
  if (!fits) {
    throw std::runtime_error(
        path_ + " is not a MultiTaskNet with float32 inputs image (N, channels, height, width) " +
        "and keypoints (N, values); its inputs are " + Describe(inputs_));
  }
}

void Network::CheckBatch(int64_t asked) {
  // Model::Resize would take another batch size, but after it this runtime gives wrong outputs for
  // every image but the first; and a device wants fixed sizes anyway.
  const int64_t fixed = inputs_[image_at_].Shape()[0];
  if (fixed < 1 || inputs_[keypoint_at_].Shape()[0] != fixed || (asked != 0 && asked != fixed)) {
    throw std::runtime_error(
        path_ + " was converted for " +
        (fixed < 1 ? "a free number of images" : "batches of " + std::to_string(fixed)) +
        "; convert the exported .onnx file with out/convert for " +
        (asked == 0 ? "a fixed batch size" : "--batch " + std::to_string(asked)) +
        "; its inputs are " + Describe(inputs_));
  }
  batch_ = static_cast<size_t>(fixed);
  for (auto &input : inputs_) {
    if (input.MutableData() == nullptr) {
      throw std::runtime_error("there is no memory for the input " + input.Name() + " of " + path_);
    }
  }
  image_bytes_ = inputs_[image_at_].DataSize() / batch_;
  keypoint_bytes_ = inputs_[keypoint_at_].DataSize() / batch_;
}

void Network::FindOutputs(const std::vector<mindspore::MSTensor> &outputs) {
  output_at_.clear();
  for (const auto &name : kOutputNames) {
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (outputs[i].Name() == name) {
        output_at_.push_back(i);
        break;
      }
    }
  }
  if (outputs.size() != kOutputNames.size() ||
      (!output_at_.empty() && output_at_.size() != kOutputNames.size())) {
    throw std::runtime_error(path_ +
                             " is not a MultiTaskNet: expected the outputs id_logits, "
                             "color_logits, type_logits, embedding; it has " +
                             Describe(outputs));
  }
  // A MindIR written by MindSpore itself has no output names, but keeps their order.
  for (size_t i = output_at_.size(); i < kOutputNames.size(); ++i) {
    output_at_.push_back(i);
  }
}

void *Network::ImageRow(size_t row) {
  return static_cast<char *>(inputs_[image_at_].MutableData()) + row * image_bytes_;
}

void *Network::KeypointRow(size_t row) {
  return static_cast<char *>(inputs_[keypoint_at_].MutableData()) + row * keypoint_bytes_;
}

void Network::ClearRow(size_t row) {
  std::memset(ImageRow(row), 0, image_bytes_);
  std::memset(KeypointRow(row), 0, keypoint_bytes_);
}

void Network::Predict() {
  const auto status = model_.Predict(inputs_, &outputs_);
  if (status != mindspore::kSuccess) {
    throw std::runtime_error("prediction failed: " + status.ToString());
  }
  FindOutputs(outputs_);
  output_data_.clear();
  for (const auto &output : outputs_) {
    output_data_.push_back(output.Data());
    if (output_data_.back() == nullptr || output.DataSize() == 0 ||
        output.DataSize() % batch_ != 0 ||
        output.DataType() != mindspore::DataType::kNumberTypeFloat32) {
      throw std::runtime_error("output " + output.Name() + " of " + path_ + " is not float32 for " +
                               std::to_string(batch_) + " images");
    }
  }
}

const void *Network::OutputRow(size_t output, size_t row) const {
  return static_cast<const char *>(output_data_[output_at_[output]].get()) +
         row * OutputBytes(output);
}

size_t Network::OutputBytes(size_t output) const {
  return outputs_[output_at_[output]].DataSize() / batch_;
}

}  // namespace infer
