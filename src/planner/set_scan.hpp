#pragma once
// Scans by a filter alone: rows that fulfil conditions which native indexes serve, in no order.

#include "pg/compat.hpp"

namespace tandem::planner {

/// While one exists, what is planned in this session may take such rows out of a tandem index where the server would take them by a
/// bitmap: what native indexes say of conditions, and of each word of a text query, may be known from earlier queries. Where an error
/// must end it, it belongs to a memory context (pg/own.hpp).
class SetScanScope {
 public:
  SetScanScope() noexcept { open_++; }
  ~SetScanScope() { open_--; }
  SetScanScope(const SetScanScope&) = delete;
  SetScanScope& operator=(const SetScanScope&) = delete;

  [[nodiscard]] static bool IsOpen() noexcept { return open_ > 0; }

 private:
  inline static int open_ = 0;
};

}  // namespace tandem::planner
