#ifndef ASCEND_310_INFER_INC_ARGUMENTS_H_
#define ASCEND_310_INFER_INC_ARGUMENTS_H_

#include <cstdint>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

namespace infer {

// A mistake in the command line; the program ends with exit code 2.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

enum class OnError { kStop, kContinue };

struct Arguments {
  std::filesystem::path mindir_path;
  std::filesystem::path input0_path;  // image stacks
  std::filesystem::path input1_path;  // keypoints
  std::filesystem::path output_path = "result_Files";
  std::filesystem::path time_path = "time_Result";
  std::string device_target = "Ascend";
  uint32_t device_id = 0;
  int64_t batch = 0;  // 0: the one that the model was converted for
  int32_t warmup = 2;
  int32_t threads = 0;  // 0: the runtime's own choice
  OnError on_error = OnError::kStop;
  bool help = false;
};

std::string Usage();

// Takes `--name value` and `--name=value`. Throws UsageError.
Arguments ParseArguments(const std::vector<std::string> &words);

}  // namespace infer

#endif  // ASCEND_310_INFER_INC_ARGUMENTS_H_
