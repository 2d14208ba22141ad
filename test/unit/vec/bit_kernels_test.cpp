#include "vec/bit_kernels.hpp"

#include <gtest/gtest.h>

#include <bitset>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "unit/vec/guarded_pages.hpp"

namespace tandem::vec {
namespace {

using test::GuardedPages;

class EveryBitKernelSet : public testing::TestWithParam<const BitKernels*> {
 protected:
  const BitKernels& kernels_ = *GetParam();
};

INSTANTIATE_TEST_SUITE_P(Cpu, EveryBitKernelSet,
                         testing::ValuesIn(AvailableBitKernels().begin(), AvailableBitKernels().end()),
                         [](const auto& instance) { return std::string(instance.param->name); });

std::vector<unsigned char> RandomBits(std::size_t bytes, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<unsigned char> bits(bytes);
  for (unsigned char& byte : bits) byte = static_cast<unsigned char>(random());
  return bits;
}

std::uint64_t Count(unsigned byte) {
  return std::bitset<8>(byte).count();
}

TEST_P(EveryBitKernelSet, CountsAtEveryLengthAndReadsNothingBehind) {
  constexpr std::size_t kLongest = 300;
  const std::vector<unsigned char> a = RandomBits(kLongest, 1);
  const std::vector<unsigned char> b = RandomBits(kLongest, 2);
  const GuardedPages guarded_a(1);
  const GuardedPages guarded_b(1);
  std::uint64_t different = 0;
  BitOverlap expected = {0, 0, 0};
  for (std::size_t n = 0; n <= kLongest; ++n) {
    const unsigned char* left = guarded_a.AtTheEnd(a.data(), n);
    const unsigned char* right = guarded_b.AtTheEnd(b.data(), n);
    EXPECT_EQ(kernels_.hamming(left, right, n), different) << n;
    const BitOverlap overlap = kernels_.overlap(left, right, n);
    EXPECT_EQ(overlap.both, expected.both) << n;
    EXPECT_EQ(overlap.in_a, expected.in_a) << n;
    EXPECT_EQ(overlap.in_b, expected.in_b) << n;
    if (n == kLongest) break;
    different += Count(a[n] ^ b[n]);
    expected.both += Count(a[n] & b[n]);
    expected.in_a += Count(a[n]);
    expected.in_b += Count(b[n]);
  }
}

// Broken once by sets that count eight bytes at a time and leave the rest out.
TEST_P(EveryBitKernelSet, ComparesManyAsItComparesOne) {
  constexpr std::size_t kCodes = 9;
  const GuardedPages guarded(1);
  for (std::size_t bytes = 1; bytes <= 300; ++bytes) {
    const std::vector<unsigned char> bits = RandomBits(kCodes * bytes, static_cast<std::uint32_t>(bytes));
    const std::vector<unsigned char> query = RandomBits(bytes, 77);
    const unsigned char* first = guarded.AtTheEnd(bits.data(), kCodes * bytes);
    const unsigned char* codes[kCodes];
    for (std::size_t i = 0; i < kCodes; ++i) codes[i] = first + i * bytes;
    std::uint32_t hamming[kCodes];
    BitDifference differences[kCodes];
    kernels_.hamming_to_many(query.data(), codes, kCodes, bytes, hamming);
    kernels_.overlaps_with_many(query.data(), codes, kCodes, bytes, differences);
    for (std::size_t i = 0; i < kCodes; ++i) {
      const BitOverlap overlap = kernels_.overlap(query.data(), codes[i], bytes);
      EXPECT_EQ(hamming[i], kernels_.hamming(query.data(), codes[i], bytes)) << bytes;
      EXPECT_EQ(differences[i].both, overlap.both) << bytes;
      EXPECT_EQ(differences[i].different + 2 * overlap.both, overlap.in_a + overlap.in_b) << bytes;
    }
  }
}

TEST_P(EveryBitKernelSet, CountsAllOfALongString) {
  const std::vector<unsigned char> ones(1'000'000, 0xFF);
  const std::vector<unsigned char> zeros(1'000'000, 0);
  EXPECT_EQ(kernels_.hamming(ones.data(), zeros.data(), ones.size()), 8'000'000U);
  EXPECT_EQ(kernels_.overlap(ones.data(), ones.data(), ones.size()).both, 8'000'000U);
}

TEST(JaccardDistance, IsTheShareThatIsNotInCommon) {
  EXPECT_EQ(JaccardDistance({2, 3, 3}), 0.5);
  EXPECT_EQ(JaccardDistance({3, 3, 3}), 0.0);
  EXPECT_EQ(JaccardDistance({0, 3, 2}), 1.0);
  EXPECT_EQ(JaccardDistance({0, 0, 0}), 1.0) << "as if two empty sets had nothing in common";
}

}  // namespace
}  // namespace tandem::vec
