#ifndef ASCEND_310_INFER_INC_TIMING_H_
#define ASCEND_310_INFER_INC_TIMING_H_

#include <cstddef>
#include <string>
#include <vector>

#include "inc/arguments.h"
#include "inc/binary_files.h"

namespace infer {

// Duration of predictions after warm-up, in milliseconds.
struct Timing {
  size_t predictions = 0;
  size_t images = 0;
  double mean_ms = 0;
  double p50_ms = 0;
  double p95_ms = 0;
  double images_per_second = 0;
};

Timing Summarise(std::vector<double> latencies_ms, size_t images);

// The line that the seed's scripts look for.
std::string SeedText(const Timing &timing);

std::string ToJson(const Timing &timing, size_t batch, const Arguments &arguments,
                   const std::vector<BadFile> &bad);

}  // namespace infer

#endif  // ASCEND_310_INFER_INC_TIMING_H_
