#pragma once
// Where inserted vectors come from: a file, or seeded random numbers when only their size matters.

#include <cstdint>
#include <memory>
#include <random>
#include <stdexcept>
#include <vector>

#include "common/options.hpp"
#include "common/vector_file.hpp"

namespace tandem::bench {

/// Rows by position: `--vectors FILE` or `--random-dims D` (uniform in [0, 1), `--seed`), `--offset`, `--count`.
/// A file that is shorter than what is asked for starts again from its beginning.
class VectorSource {
 public:
  explicit VectorSource(const Options& options)
      : offset_(options.Count("offset", 0)), seed_(options.Count("seed", 1)) {
    if (options.Has("vectors")) {
      file_ = std::make_unique<VectorFile<float>>(options.Text("vectors"));
      dims_ = file_->width();
      count_ = options.Count("count", file_->rows());
    } else {
      dims_ = options.Count("random-dims", 0);
      count_ = options.Count("count", 0);
    }
    if (dims_ == 0 || count_ == 0)
      throw std::invalid_argument("--vectors, or --random-dims and --count, are needed");
  }

  [[nodiscard]] std::size_t count() const noexcept { return count_; }
  [[nodiscard]] std::size_t dims() const noexcept { return dims_; }

  /// Row i of the range; `scratch` holds it when it is random.
  [[nodiscard]] Span<const float> Row(std::size_t i, std::vector<float>& scratch) const {
    if (file_ != nullptr) return file_->row((offset_ + i) % file_->rows());
    scratch.resize(dims_);
    std::mt19937_64 random(seed_ * 0x9E3779B97F4A7C15ULL + offset_ + i);
    for (float& value : scratch) value = static_cast<float>(random() >> 40) * 0x1p-24F;
    return scratch;
  }

 private:
  std::unique_ptr<VectorFile<float>> file_;
  std::size_t offset_;
  std::size_t seed_;
  std::size_t count_ = 0;
  std::size_t dims_ = 0;
};

}  // namespace tandem::bench
