// MultiTaskNet on a MindSpore Lite device: reads preprocessed images, writes the four outputs of
// each as raw float32 files and a timing report.
#include <algorithm>
#include <chrono>
#include <exception>
#include <iostream>
#include <string>
#include <vector>

#include "inc/arguments.h"
#include "inc/binary_files.h"
#include "inc/network.h"
#include "inc/timing.h"

namespace {

constexpr int kFailed = 1;
constexpr int kWrongUsage = 2;

// Loads the next images into the network's input; returns the names that were loaded.
std::vector<std::string> LoadBatch(const infer::Arguments &arguments, infer::Network *network,
                                   infer::PairedInputs *inputs, size_t *next) {
  std::vector<std::string> names;
  while (names.size() < network->batch() && *next < inputs->pairs.size()) {
    const infer::InputPair &pair = inputs->pairs[(*next)++];
    try {
      infer::ReadExactly(pair.image, network->ImageRow(names.size()), network->image_bytes());
      infer::ReadExactly(pair.keypoints, network->KeypointRow(names.size()),
                         network->keypoint_bytes());
    } catch (const std::runtime_error &error) {
      if (arguments.on_error == infer::OnError::kStop) {
        throw;
      }
      inputs->bad.push_back({pair.image, error.what()});
      continue;
    }
    names.push_back(pair.name);
  }
  // The last batch is filled up with zeros: a device with a fixed batch size needs it whole.
  for (size_t row = names.size(); row < network->batch(); ++row) {
    network->ClearRow(row);
  }
  return names;
}

void WriteOutputs(const infer::Network &network, const std::vector<std::string> &names,
                  const infer::Arguments &arguments) {
  for (size_t row = 0; row < names.size(); ++row) {
    for (size_t output = 0; output < infer::kOutputNames.size(); ++output) {
      const std::string file = names[row] + "_" + std::to_string(output) + ".bin";
      infer::WriteWhole(arguments.output_path / file, network.OutputRow(output, row),
                        network.OutputBytes(output));
    }
  }
}

double PredictTimed(infer::Network *network) {
  const auto start = std::chrono::steady_clock::now();
  network->Predict();
  const std::chrono::duration<double, std::milli> duration =
      std::chrono::steady_clock::now() - start;
  return duration.count();
}

int Run(const infer::Arguments &arguments) {
  infer::PairedInputs inputs = infer::PairInputs(arguments.input0_path, arguments.input1_path);
  infer::Network network(arguments);
  infer::CheckSizes(network.image_bytes(), network.keypoint_bytes(), &inputs);
  if (!inputs.bad.empty() &&
      (arguments.on_error == infer::OnError::kStop || inputs.pairs.empty())) {
    std::cerr << "error: input files do not fit " << arguments.mindir_path.string()
              << "; run the preprocessing again for this model:"
              << infer::FirstOffenders(inputs.bad) << std::endl;
    return kFailed;
  }
  infer::CreateFolder(arguments.output_path);
  infer::CreateFolder(arguments.time_path);

  std::vector<double> latencies_ms;
  size_t images = 0;
  size_t next = 0;
  while (next < inputs.pairs.size()) {
    const size_t first = next;
    const std::vector<std::string> names = LoadBatch(arguments, &network, &inputs, &next);
    if (names.empty()) {
      continue;
    }
    try {
      if (latencies_ms.empty()) {
        for (int32_t i = 0; i < arguments.warmup; ++i) {
          network.Predict();
        }
      }
      latencies_ms.push_back(PredictTimed(&network));
    } catch (const std::runtime_error &error) {
      if (arguments.on_error == infer::OnError::kStop) {
        throw;
      }
      for (size_t i = first; i < next; ++i) {
        inputs.bad.push_back({inputs.pairs[i].image, error.what()});
      }
      continue;
    }
    WriteOutputs(network, names, arguments);
    images += names.size();
  }

  const infer::Timing timing = infer::Summarise(latencies_ms, images);
  const std::string text = infer::SeedText(timing);
  const std::string json = infer::ToJson(timing, network.batch(), arguments, inputs.bad);
  infer::WriteWhole(arguments.time_path / "test_perform_static.txt", text.data(), text.size());
  infer::WriteWhole(arguments.time_path / "performance.json", json.data(), json.size());
  std::cout << text;
  if (!inputs.bad.empty()) {
    std::cerr << "error: " << inputs.bad.size() << " input files were left out:"
              << infer::FirstOffenders(inputs.bad) << std::endl;
    return kFailed;
  }
  return 0;
}

}  // namespace

int main(int argc, char **argv) {
  try {
    const infer::Arguments arguments =
        infer::ParseArguments(std::vector<std::string>(argv + std::min(argc, 1), argv + argc));
    if (arguments.help) {
      std::cout << infer::Usage();
      return 0;
    }
    return Run(arguments);
  } catch (const infer::UsageError &error) {
    std::cerr << "error: " << error.what() << "\n" << infer::Usage();
    return kWrongUsage;
  } catch (const std::exception &error) {
    std::cerr << "error: " << error.what() << std::endl;
    return kFailed;
  }
}
