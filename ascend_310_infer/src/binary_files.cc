#include "inc/binary_files.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <cstdio>
#include <map>
#include <memory>
#include <stdexcept>
#include <system_error>
#include <utility>

namespace infer {
namespace fs = std::filesystem;
namespace {

using File = std::unique_ptr<std::FILE, int (*)(std::FILE *)>;

// The part of a file name that both inputs of an image share.
std::string PairKey(const fs::path &path, const std::string &token) {
  std::string stem = path.stem().string();
  const size_t at = stem.rfind(token);
  return at == std::string::npos ? stem : stem.erase(at, token.size());
}

std::map<std::string, fs::path> ListInputs(const fs::path &folder, const std::string &token,
                                           std::vector<BadFile> *bad) {
  std::error_code error;
  fs::directory_iterator entries(folder, error);
  if (error) {
    throw std::runtime_error("cannot read the folder " + folder.string() + ": " + error.message() +
                             "; give the folder that preprocessing wrote");
  }
  std::map<std::string, fs::path> files;
  for (const auto &entry : entries) {
    const fs::path &path = entry.path();
    if (path.extension() != ".bin" || path.filename().string().front() == '.') {
      continue;
    }
    const auto [place, is_new] = files.emplace(PairKey(path, token), path);
    if (!is_new) {
      bad->push_back({path, "belongs to the same image as " + place->second.filename().string()});
    }
  }
  if (files.empty()) {
    throw std::runtime_error("there is no .bin file in " + folder.string() +
                             "; run the preprocessing first");
  }
  return files;
}

std::string SizeProblem(const fs::path &path, size_t expected) {
  std::error_code error;
  const uintmax_t size = fs::file_size(path, error);
  if (error) {
    return error.message();
  }
  if (size != expected) {
    return "has " + std::to_string(size) + " bytes, the model takes " + std::to_string(expected);
  }
  return "";
}

[[noreturn]] void Fail(const std::string &what, const fs::path &path, int code) {
  throw std::runtime_error(what + " " + path.string() + ": " + std::strerror(code));
}

}  // namespace

PairedInputs PairInputs(const fs::path &image_folder, const fs::path &keypoint_folder) {
  PairedInputs inputs;
  const auto images = ListInputs(image_folder, "_img", &inputs.bad);
  auto keypoints = ListInputs(keypoint_folder, "_vkeypt", &inputs.bad);
  for (const auto &[key, image] : images) {
    const auto partner = keypoints.find(key);
    if (partner == keypoints.end()) {
      inputs.bad.push_back({image, "has no keypoint file in " + keypoint_folder.string()});
      continue;
    }
    inputs.pairs.push_back({image.stem().string(), image, partner->second});
    keypoints.erase(partner);
  }
  for (const auto &[key, path] : keypoints) {
    inputs.bad.push_back({path, "has no image file in " + image_folder.string()});
  }
  return inputs;
}

void CheckSizes(size_t image_bytes, size_t keypoint_bytes, PairedInputs *inputs) {
  std::vector<InputPair> good;
  for (auto &pair : inputs->pairs) {
    const std::string image_problem = SizeProblem(pair.image, image_bytes);
    const std::string keypoint_problem = SizeProblem(pair.keypoints, keypoint_bytes);
    if (!image_problem.empty()) {
      inputs->bad.push_back({pair.image, image_problem});
    }
    if (!keypoint_problem.empty()) {
      inputs->bad.push_back({pair.keypoints, keypoint_problem});
    }
    if (image_problem.empty() && keypoint_problem.empty()) {
      good.push_back(std::move(pair));
    }
  }
  inputs->pairs = std::move(good);
}

void ReadExactly(const fs::path &path, void *data, size_t bytes) {
  const File file(std::fopen(path.c_str(), "rb"), &std::fclose);
  if (!file) {
    Fail("cannot open", path, errno);
  }
  const size_t count = std::fread(data, 1, bytes, file.get());
  if (count != bytes || std::fgetc(file.get()) != EOF) {
    throw std::runtime_error(path.string() + " does not have the " + std::to_string(bytes) +
                             " bytes that the model takes");
  }
}

void WriteWhole(const fs::path &path, const void *data, size_t bytes) {
  const fs::path temporary =
      path.parent_path() / ("." + path.filename().string() + "." + std::to_string(::getpid()));
  File file(std::fopen(temporary.c_str(), "wb"), &std::fclose);
  if (!file) {
    Fail("cannot create", temporary, errno);
  }
  int problem = 0;
  if (std::fwrite(data, 1, bytes, file.get()) != bytes) {
    problem = errno;
  }
  // Closing writes what is still buffered: a full disk often shows only here.
  if (std::fclose(file.release()) != 0 && problem == 0) {
    problem = errno;
  }
  if (problem == 0 && std::rename(temporary.c_str(), path.c_str()) != 0) {
    problem = errno;
  }
  if (problem != 0) {
    std::remove(temporary.c_str());
    Fail("cannot write", path, problem);
  }
}

void CreateFolder(const fs::path &path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error || !fs::is_directory(path)) {
    throw std::runtime_error("cannot create the folder " + path.string() + ": " +
                             (error ? error.message() : "a file has its name"));
  }
}

std::string FirstOffenders(const std::vector<BadFile> &bad) {
  constexpr size_t kShown = 5;
  std::string text;
  for (size_t i = 0; i < std::min(kShown, bad.size()); ++i) {
    text += "\n  " + bad[i].path.string() + " " + bad[i].reason;
  }
  if (bad.size() > kShown) {
    text += "\n  (and " + std::to_string(bad.size() - kShown) + " more, " +
            std::to_string(bad.size()) + " in all)";
  }
  return text;
}

}  // namespace infer
