#ifndef ASCEND_310_INFER_INC_NETWORK_H_
#define ASCEND_310_INFER_INC_NETWORK_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "include/api/model.h"
#include "inc/arguments.h"

namespace infer {

// The four outputs, in the order of their numbers in the result files' names.
extern const std::vector<std::string> kOutputNames;

// A model file, built for a device, at the batch size that it was converted for.
class Network {
 public:
  // Throws std::runtime_error where the file, the device or the model's inputs and outputs are not
  // what they must be.
  explicit Network(const Arguments &arguments);

  size_t batch() const { return batch_; }
  size_t image_bytes() const { return image_bytes_; }
  size_t keypoint_bytes() const { return keypoint_bytes_; }

  // Where the `row`-th image of the next prediction is to be put.
  void *ImageRow(size_t row);
  void *KeypointRow(size_t row);
  void ClearRow(size_t row);

  // Runs the model. Throws std::runtime_error.
  void Predict();

  // The `row`-th part of output `output` (a number into kOutputNames) of the last prediction.
  const void *OutputRow(size_t output, size_t row) const;
  size_t OutputBytes(size_t output) const;

 private:
  void FindInputs();
  void CheckBatch(int64_t asked);
  void FindOutputs(const std::vector<mindspore::MSTensor> &outputs);

  std::string path_;
  size_t batch_ = 0;
  mindspore::Model model_;
  std::vector<mindspore::MSTensor> inputs_;
  std::vector<mindspore::MSTensor> outputs_;
  // The tensors' own memory may be on the device; this copy is readable here.
  std::vector<std::shared_ptr<const void>> output_data_;
  std::vector<size_t> output_at_;  // number into kOutputNames -> number into outputs_
  size_t image_at_ = 0;
  size_t keypoint_at_ = 1;
  size_t image_bytes_ = 0;
  size_t keypoint_bytes_ = 0;
};

}  // namespace infer

#endif  // ASCEND_310_INFER_INC_NETWORK_H_
