#include "base/span.hpp"

#include <gtest/gtest.h>

#include <array>
#include <numeric>
#include <string>
#include <type_traits>
#include <vector>

namespace tandem::base {
namespace {

TEST(Span, IsEmptyByDefault) {
  constexpr Span<int> nothing;
  static_assert(nothing.empty());
  EXPECT_EQ(nothing.data(), nullptr);
  EXPECT_EQ(nothing.begin(), nothing.end());
}

TEST(Span, ViewsAPointerAndALengthWithoutCopying) {
  int values[] = {1, 2, 3};
  const Span<int> view(values, 2);
  EXPECT_EQ(view.size(), 2U);
  EXPECT_EQ(view.data(), values);
  view[1] = 7;
  EXPECT_EQ(values[1], 7);
}

TEST(Span, TakesTheLengthOfAnArray) {
  const float values[] = {1, 2, 3, 4};
  const Span<const float> view(values);
  EXPECT_EQ(view.size(), 4U);
  EXPECT_EQ(view[3], 4.0F);
}

TEST(Span, ViewsContainersWithDataAndSize) {
  std::vector<int> vector = {5, 6};
  const std::array<int, 3> array = {1, 2, 3};
  const std::string text = "abc";
  EXPECT_EQ(Span<int>(vector).data(), vector.data());
  EXPECT_EQ(Span<const int>(array).size(), 3U);
  EXPECT_EQ(Span<const char>(text)[2], 'c');
}

TEST(Span, GainsConstButNeverLosesIt) {
  static_assert(std::is_constructible_v<Span<const int>, Span<int>&>);
  static_assert(!std::is_constructible_v<Span<int>, Span<const int>&>);
  static_assert(!std::is_constructible_v<Span<int>, const std::vector<int>&>);
}

TEST(Span, RefusesContainersOfDerivedObjects) {
  struct Base {
    int a;
  };
  struct Derived : Base {
    int b;
  };
  static_assert(!std::is_constructible_v<Span<Base>, std::vector<Derived>&>, "the stride would be wrong");
}

TEST(Span, RunsThroughARangeFor) {
  const std::vector<int> values = {1, 2, 3, 4};
  const Span<const int> view(values);
  int sum = 0;
  for (const int value : view) sum += value;
  EXPECT_EQ(sum, 10);
  EXPECT_EQ(std::accumulate(view.begin(), view.end(), 0), 10);
}

TEST(Span, CutsOutAPart) {
  const std::vector<int> values = {0, 1, 2, 3, 4, 5};
  const Span<const int> middle = Span<const int>(values).subspan(2, 3);
  ASSERT_EQ(middle.size(), 3U);
  EXPECT_EQ(middle[0], 2);
  EXPECT_EQ(middle[2], 4);
  EXPECT_TRUE(Span<const int>(values).subspan(6, 0).empty());
}

TEST(Span, IsPassedInTwoRegisters) {
  static_assert(std::is_trivially_copyable_v<Span<float>>);
  static_assert(sizeof(Span<float>) == 2 * sizeof(void*));
}

}  // namespace
}  // namespace tandem::base
