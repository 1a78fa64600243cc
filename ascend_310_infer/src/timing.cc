#include "inc/timing.h"

#include <algorithm>
#include <cmath>
#include <iomanip>
#include <limits>
#include <locale>
#include <numeric>
#include <sstream>

namespace infer {
namespace {

// Linear between the two nearest ranks, as NumPy's default.
double Percentile(const std::vector<double> &sorted, double fraction) {
  const double position = fraction * static_cast<double>(sorted.size() - 1);
  const auto lower = static_cast<size_t>(std::floor(position));
  const size_t upper = std::min(lower + 1, sorted.size() - 1);
  return sorted[lower] + (position - std::floor(position)) * (sorted[upper] - sorted[lower]);
}

std::string Quoted(const std::string &text) {
  std::ostringstream quoted;
  quoted << '"';
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      quoted << '\\' << c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      quoted << "\\u" << std::hex << std::setw(4) << std::setfill('0')
             << static_cast<int>(static_cast<unsigned char>(c));
    } else {
      quoted << c;
    }
  }
  quoted << '"';
  return quoted.str();
}

}  // namespace

Timing Summarise(std::vector<double> latencies_ms, size_t images) {
  Timing timing;
  timing.predictions = latencies_ms.size();
  timing.images = images;
  if (latencies_ms.empty()) {
    return timing;
  }
  std::sort(latencies_ms.begin(), latencies_ms.end());
  const double total = std::accumulate(latencies_ms.begin(), latencies_ms.end(), 0.0);
  timing.mean_ms = total / static_cast<double>(latencies_ms.size());
  timing.p50_ms = Percentile(latencies_ms, 0.50);
  timing.p95_ms = Percentile(latencies_ms, 0.95);
  timing.images_per_second = total > 0 ? 1000.0 * static_cast<double>(images) / total : 0;
  return timing;
}

std::string SeedText(const Timing &timing) {
  std::ostringstream text;
  text.imbue(std::locale::classic());
  text << "NN inference cost average time: " << timing.mean_ms << " ms of infer_count "
       << timing.predictions << "\n";
  return text.str();
}

std::string ToJson(const Timing &timing, size_t batch, const Arguments &arguments,
                   const std::vector<BadFile> &bad) {
  std::ostringstream json;
  json.imbue(std::locale::classic());
  json << std::setprecision(std::numeric_limits<double>::digits10);
  json << "{\n  \"model\": " << Quoted(arguments.mindir_path.filename().string())
       << ",\n  \"device_target\": " << Quoted(arguments.device_target)
       << ",\n  \"device_id\": " << arguments.device_id << ",\n  \"batch\": " << batch
       << ",\n  \"threads\": " << arguments.threads << ",\n  \"warmup\": " << arguments.warmup
       << ",\n  \"predictions\": " << timing.predictions << ",\n  \"images\": " << timing.images
       << ",\n  \"mean_ms\": " << timing.mean_ms << ",\n  \"p50_ms\": " << timing.p50_ms
       << ",\n  \"p95_ms\": " << timing.p95_ms
       << ",\n  \"images_per_second\": " << timing.images_per_second << ",\n  \"failed\": [";
  for (size_t i = 0; i < bad.size(); ++i) {
    json << (i == 0 ? "\n" : ",\n") << "    {\"file\": " << Quoted(bad[i].path.string())
         << ", \"reason\": " << Quoted(bad[i].reason) << "}";
  }
  json << (bad.empty() ? "" : "\n  ") << "]\n}\n";
  return json.str();
}

}  // namespace infer
