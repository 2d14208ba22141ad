#pragma once
// The sets of kernels that this CPU can run.

#include <cstddef>

#include "base/span.hpp"

namespace tandem::vec::internal {

/// Best first; at least one, at most kMost.
template <typename Kernels>
class KernelSets {
 public:
  static constexpr std::size_t kMost = 4;

  void Append(const Kernels& kernels) noexcept { sets_[count_++] = &kernels; }
  [[nodiscard]] const Kernels& best() const noexcept { return *sets_[0]; }
  [[nodiscard]] base::Span<const Kernels* const> all() const noexcept { return {sets_, count_}; }

 private:
  const Kernels* sets_[kMost] = {};
  std::size_t count_ = 0;
};

}  // namespace tandem::vec::internal
