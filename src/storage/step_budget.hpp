#pragma once
// How long one step of a fold may work on pages before its caller lets go of the relation.

#include "pg/pg.hpp"

#include <chrono>

#include "pg/stop_point.hpp"

namespace tandem::storage {

class StepBudget {
 public:
  /// Tests ask for the smallest steps.
  explicit StepBudget(int budget_ms)
      : until_(Clock::now() + std::chrono::milliseconds(pg::IsSwitchedOn("small-steps") ? 0 : budget_ms)) {}

  [[nodiscard]] bool IsSpent() const { return Clock::now() >= until_; }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point until_;
};

}  // namespace tandem::storage
