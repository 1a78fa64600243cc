#ifndef ASCEND_310_INFER_INC_BINARY_FILES_H_
#define ASCEND_310_INFER_INC_BINARY_FILES_H_

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

namespace infer {

// The two input files of one image; `name` is the image file's name without its extension.
struct InputPair {
  std::string name;
  std::filesystem::path image;
  std::filesystem::path keypoints;
};

// A file that cannot be used, and why.
struct BadFile {
  std::filesystem::path path;
  std::string reason;
};

struct PairedInputs {
  std::vector<InputPair> pairs;  // sorted by name
  std::vector<BadFile> bad;      // files without a partner, or of the wrong size
};

// Pairs the .bin files of two folders by name: equal names, or names that differ only in `img`
// and `vkeypt`, as in `veri_data_query_img_3.bin` and `veri_data_query_vkeypt_3.bin`.
// Throws std::runtime_error where a folder is missing or holds no .bin file.
PairedInputs PairInputs(const std::filesystem::path &image_folder,
                        const std::filesystem::path &keypoint_folder);

// Moves pairs with a file that is not exactly as large as the model needs from `pairs` to `bad`.
void CheckSizes(size_t image_bytes, size_t keypoint_bytes, PairedInputs *inputs);

// Fills `data` with exactly `bytes` bytes. Throws std::runtime_error.
void ReadExactly(const std::filesystem::path &path, void *data, size_t bytes);

// Writes under a temporary name and renames, so that the file is whole or absent.
// Throws std::runtime_error, for instance on a full disk.
void WriteWhole(const std::filesystem::path &path, const void *data, size_t bytes);

// Creates the folder and its parents. Throws std::runtime_error.
void CreateFolder(const std::filesystem::path &path);

// "a, b, c (and 4 more, 9 in all)": the first five.
std::string FirstOffenders(const std::vector<BadFile> &bad);

}  // namespace infer

#endif  // ASCEND_310_INFER_INC_BINARY_FILES_H_
