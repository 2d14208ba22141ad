#pragma once
// The 16 levels of a dimension's 4-bit codes, as CodeKernels::make_nibbles chooses among them.

#include <algorithm>

namespace tandem::vec {

constexpr double kMiddleNibble = 7.5;

/// The level, from the middle of all of them, that stands for x, which is measured from there, too. step: > 0.
[[nodiscard]] inline double LevelFor(double x, double step) noexcept {
  // Clamped first: what is left is not negative, so that cutting off rounds downwards. std::floor() is a call.
  const auto nibble = static_cast<int>(std::clamp(x / step + 8.0, 0.0, 15.0));
  return step * (nibble - kMiddleNibble);
}

}  // namespace tandem::vec
