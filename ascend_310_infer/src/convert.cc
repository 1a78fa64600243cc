// Converts an exported ONNX file to a MindIR that the MindSpore Lite runtime reads.
//
// The runtime of the Lite wheel reads version 1 of MindIR, MindSpore writes version 3; the wheel
// has the converter as a library without its header and without a program. Newer releases bring
// `converter_lite`, which does the same.
#include <algorithm>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include "include/api/dual_abi_helper.h"
#include "include/api/status.h"
#include "include/api/types.h"
#include "include/registry/converter_context.h"

namespace mindspore {

// The part of the library's class that is used here; its only data member is this pointer.
class MS_API Converter {
 public:
  Converter(converter::FmkType type, const std::vector<char> &model,
            const std::vector<char> &output, const std::vector<char> &weights);
  ~Converter() = default;

  void SetSaveType(ModelType type);
  void SetInputShape(const std::map<std::vector<char>, std::vector<int64_t>> &shapes);
  Status Convert();

 private:
  struct Data;
  std::shared_ptr<Data> data_;
};

}  // namespace mindspore

namespace {

namespace fs = std::filesystem;

constexpr int kFailed = 1;
constexpr int kWrongUsage = 2;
constexpr char kUsage[] =
    "Usage: convert ONNX_FILE MINDIR_FILE [INPUT_SHAPES]\n"
    "  INPUT_SHAPES  fixes free dimensions: \"image:1,3,256,256;keypoints:1,108\"\n"
    "Exit codes: 0 done, 1 failed, 2 wrong usage.\n";

struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

std::map<std::vector<char>, std::vector<int64_t>> ParseShapes(const std::string &text) {
  std::map<std::vector<char>, std::vector<int64_t>> shapes;
  std::istringstream inputs(text);
  for (std::string input; std::getline(inputs, input, ';');) {
    const size_t colon = input.rfind(':');
    std::vector<int64_t> shape;
    std::istringstream sizes(colon == std::string::npos ? "" : input.substr(colon + 1));
    for (std::string size; std::getline(sizes, size, ',');) {
      const bool digits = !size.empty() && size.size() < 10 &&
                          std::all_of(size.begin(), size.end(),
                                      [](unsigned char c) { return c >= '0' && c <= '9'; });
      const int64_t value = digits ? std::stoll(size) : 0;
      if (value < 1) {
        throw UsageError("not an input shape: '" + input + "'");
      }
      shape.push_back(value);
    }
    if (colon == 0 || shape.empty()) {
      throw UsageError("not an input shape: '" + input + "'");
    }
    shapes[mindspore::StringToChar(input.substr(0, colon))] = shape;
  }
  return shapes;
}

int Run(const std::vector<std::string> &words) {
  if (words.size() != 2 && words.size() != 3) {
    throw UsageError("expected two or three arguments");
  }
  const fs::path onnx(words[0]);
  const fs::path mindir(words[1]);
  if (mindir.extension() != ".mindir") {
    throw UsageError("the name of the result must end in .mindir, got " + mindir.string());
  }
  if (!fs::is_regular_file(onnx)) {
    throw std::runtime_error("there is no file " + onnx.string());
  }
  if (mindir.has_parent_path()) {
    fs::create_directories(mindir.parent_path());
  }
  // The converter adds the ending itself. The file gets its name when it is whole.
  const fs::path stem = mindir.parent_path() / ("." + mindir.stem().string() + "-unfinished");
  const fs::path unfinished = stem.string() + ".mindir";
  fs::remove(unfinished);
  mindspore::Converter converter(mindspore::converter::kFmkTypeOnnx,
                                 mindspore::StringToChar(onnx.string()),
                                 mindspore::StringToChar(stem.string()), {});
  converter.SetSaveType(mindspore::kMindIR);
  if (words.size() == 3) {
    converter.SetInputShape(ParseShapes(words[2]));
  }
  const mindspore::Status status = converter.Convert();
  if (status != mindspore::kSuccess || !fs::is_regular_file(unfinished)) {
    std::error_code ignored;
    fs::remove(unfinished, ignored);
    throw std::runtime_error("MindSpore Lite cannot convert " + onnx.string() + ": " +
                             status.ToString() +
                             " Give the float32 .onnx file that `mtn export` wrote.");
  }
  fs::permissions(unfinished, fs::perms::owner_read | fs::perms::owner_write |
                                  fs::perms::group_read | fs::perms::others_read);
  fs::rename(unfinished, mindir);
  return 0;
}

}  // namespace

int main(int argc, char **argv) {
  try {
    return Run(std::vector<std::string>(argv + std::min(argc, 1), argv + argc));
  } catch (const UsageError &error) {
    std::cerr << "error: " << error.what() << "\n" << kUsage;
    return kWrongUsage;
  } catch (const std::exception &error) {
    std::cerr << "error: " << error.what() << std::endl;
    return kFailed;
  }
}
