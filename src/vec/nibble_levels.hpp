#pragma once
// The 16 levels of a dimension's 4-bit codes, as CodeKernels::make_nibbles chooses among them.

#include <algorithm>
#include <cmath>

namespace tandem::vec {

constexpr double kMiddleNibble = 7.5;

/// The level, from the middle of all of them, that stands for x, which is measured from there, too. step: > 0.
[[nodiscard]] inline double LevelFor(double x, double step) noexcept {
  return step * (std::clamp(std::floor(x / step + 8.0), 0.0, 15.0) - kMiddleNibble);
}

}  // namespace tandem::vec
