#include "inc/arguments.h"

#include <charconv>
#include <functional>
#include <limits>
#include <map>
#include <set>

namespace infer {
namespace {

template <typename Integer>
Integer ParseInteger(const std::string &name, const std::string &text, Integer smallest) {
  Integer value{};
  const char *end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || rest != end || value < smallest) {
    throw UsageError("--" + name + " must be a whole number from " + std::to_string(smallest) +
                     " on, got '" + text + "'");
  }
  return value;
}

}  // namespace

std::string Usage() {
  return "Usage: main --mindir_path FILE --input0_path DIR --input1_path DIR [options]\n"
         "  --mindir_path FILE          model that the MindSpore Lite runtime reads\n"
         "  --input0_path DIR           image stacks, one float32 .bin file an image\n"
         "  --input1_path DIR           keypoints, one float32 .bin file an image\n"
         "  --device_target TARGET      Ascend (default) or CPU\n"
         "  --device_id N               Ascend device, default 0\n"
         "  --batch N                   images a prediction; must be the model's own, the default\n"
         "  --output_path DIR           result files, default result_Files\n"
         "  --time_path DIR             timing reports, default time_Result\n"
         "  --on_error stop|continue    what to do about a bad file, default stop\n"
         "  --warmup N                  untimed predictions, default 2\n"
         "  --threads N                 CPU threads, default 0: the runtime's choice\n"
         "Exit codes: 0 every image was predicted, 1 something failed, 2 wrong usage.\n";
}

Arguments ParseArguments(const std::vector<std::string> &words) {
  Arguments arguments;
  const std::map<std::string, std::function<void(const std::string &)>> setters = {
      {"mindir_path", [&](const std::string &text) { arguments.mindir_path = text; }},
      {"input0_path", [&](const std::string &text) { arguments.input0_path = text; }},
      {"input1_path", [&](const std::string &text) { arguments.input1_path = text; }},
      {"output_path", [&](const std::string &text) { arguments.output_path = text; }},
      {"time_path", [&](const std::string &text) { arguments.time_path = text; }},
      {"device_id", [&](const std::string &text) {
         arguments.device_id = ParseInteger<uint32_t>("device_id", text, 0);
       }},
      {"batch", [&](const std::string &text) {
         arguments.batch = ParseInteger<int64_t>("batch", text, 1);
       }},
      {"warmup", [&](const std::string &text) {
         arguments.warmup = ParseInteger<int32_t>("warmup", text, 0);
       }},
      {"threads", [&](const std::string &text) {
         arguments.threads = ParseInteger<int32_t>("threads", text, 0);
       }},
      {"device_target", [&](const std::string &text) {
         if (text != "Ascend" && text != "CPU") {
           throw UsageError("--device_target must be Ascend or CPU, got '" + text + "'");
         }
         arguments.device_target = text;
       }},
      {"on_error", [&](const std::string &text) {
         if (text != "stop" && text != "continue") {
           throw UsageError("--on_error must be stop or continue, got '" + text + "'");
         }
         arguments.on_error = text == "stop" ? OnError::kStop : OnError::kContinue;
       }},
  };
  std::set<std::string> given;
  for (size_t i = 0; i < words.size(); ++i) {
    if (words[i] == "--help" || words[i] == "-h") {
      arguments.help = true;
      return arguments;
    }
    const size_t equals = words[i].find('=');
    const std::string flag = words[i].substr(0, equals);
    const auto setter = flag.rfind("--", 0) == 0 ? setters.find(flag.substr(2)) : setters.end();
    if (setter == setters.end()) {
      throw UsageError("unknown argument '" + flag + "'");
    }
    if (!given.insert(flag).second) {
      throw UsageError(flag + " is given twice");
    }
    std::string value;
    if (equals != std::string::npos) {
      value = words[i].substr(equals + 1);
    } else if (i + 1 < words.size()) {
      value = words[++i];
    }
    if (value.empty()) {
      throw UsageError(flag + " needs a value");
    }
    setter->second(value);
  }
  for (const char *required : {"--mindir_path", "--input0_path", "--input1_path"}) {
    if (given.count(required) == 0) {
      throw UsageError(std::string(required) + " is missing");
    }
  }
  return arguments;
}

}  // namespace infer
