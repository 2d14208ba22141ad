#include "base/ids.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <type_traits>

namespace tandem::base {
namespace {

TEST(RowId, DoesNotMixWithPlainIntegers) {
  static_assert(!std::is_convertible_v<RowId, std::uint64_t>);
  static_assert(!std::is_convertible_v<std::uint64_t, RowId>);
  static_assert(sizeof(RowId) == sizeof(std::uint64_t));
}

TEST(RowId, GivesItsOrdinalBack) {
  EXPECT_EQ(ToIndex(RowId{0}), 0U);
  const std::uint64_t last = std::numeric_limits<std::uint64_t>::max();
  EXPECT_EQ(ToIndex(RowId{last}), last);
}

TEST(RowId, OrdersByInsertion) {
  EXPECT_LT(RowId{41}, RowId{42});
}

}  // namespace
}  // namespace tandem::base
