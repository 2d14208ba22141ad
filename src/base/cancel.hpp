#pragma once
// How a long computation is told to stop.

#include <atomic>

namespace tandem::base {

/// Set by whoever wants a computation to end; read by the threads that compute. Never blocks, never throws.
class CancelToken {
 public:
  void Cancel() noexcept { cancelled_.store(true, std::memory_order_relaxed); }
  [[nodiscard]] bool cancelled() const noexcept { return cancelled_.load(std::memory_order_relaxed); }

 private:
  std::atomic<bool> cancelled_{false};
};

}  // namespace tandem::base
