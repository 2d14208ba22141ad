#include "vec/lookup_kernels.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "unit/vec/guarded_pages.hpp"

namespace tandem::vec {
namespace {

using test::GuardedPages;

class EveryLookupKernelSet : public testing::TestWithParam<const LookupKernels*> {
 protected:
  const LookupKernels& kernels_ = *GetParam();
};

INSTANTIATE_TEST_SUITE_P(Cpu, EveryLookupKernelSet,
                         testing::ValuesIn(AvailableLookupKernels().begin(), AvailableLookupKernels().end()),
                         [](const auto& instance) { return std::string(instance.param->name); });

std::vector<std::uint8_t> RandomBytes(std::size_t count, std::uint32_t end, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<std::uint8_t> bytes(count);
  for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random() % end);
  return bytes;
}

/// Row i's sum, from the definition.
std::uint32_t SumOf(const std::vector<std::uint8_t>& tables, std::size_t bytes,
                    const std::vector<std::uint8_t>& blocks, std::size_t i) {
  std::uint32_t sum = 0;
  for (std::size_t j = 0; j < bytes; ++j) {
    const std::uint8_t byte = blocks[i / 16 * 16 * bytes + 16 * j + i % 16];
    sum += tables[16 * j + byte % 16U];
    sum += tables[16 * (bytes + j) + byte / 16U];
  }
  return sum;
}

TEST_P(EveryLookupKernelSet, SumsEntriesAtEveryLengthAndReadsNothingBehind) {
  for (std::size_t bytes = 8; bytes <= kMostLookupBytes; bytes += bytes < 200 ? 8 : 104) {
    const std::vector<std::uint8_t> tables = RandomBytes(32 * bytes, kLargestEntry + 1U, 1);
    const GuardedPages guarded_tables(9);
    const std::uint8_t* at_the_end = guarded_tables.AtTheEnd(tables.data(), tables.size());
    for (const std::size_t count : {1U, 7U, 15U, 16U, 17U, 47U, 64U}) {
      const std::vector<std::uint8_t> blocks = RandomBytes((count + 15) / 16 * 16 * bytes, 256, 2);
      // The last byte of the last row is the last that may be read.
      const std::size_t readable = blocks.size() - (count % 16 == 0 ? 0 : 16 - count % 16);
      const GuardedPages guarded_blocks(17);
      std::vector<std::uint16_t> sums((count + 15) / 16 * 16 + 1, 7);
      kernels_.sum_entries(at_the_end, bytes, guarded_blocks.AtTheEnd(blocks.data(), readable), count,
                           sums.data());
      for (std::size_t i = 0; i < count; ++i)
        EXPECT_EQ(sums[i], SumOf(tables, bytes, blocks, i))
            << bytes << " bytes, row " << i << " of " << count;
      EXPECT_EQ(sums.back(), 7U) << "nothing is written behind";
    }
  }
}

TEST_P(EveryLookupKernelSet, SumsTheLargestEntriesOfTheLongestRows) {
  const std::vector<std::uint8_t> tables(32 * kMostLookupBytes, kLargestEntry);
  const std::vector<std::uint8_t> blocks = RandomBytes(64 * kMostLookupBytes, 256, 3);
  std::uint16_t sums[64] = {};
  kernels_.sum_entries(tables.data(), kMostLookupBytes, blocks.data(), 64, sums);
  for (const std::uint16_t sum : sums) EXPECT_EQ(sum, 2U * kMostLookupBytes * kLargestEntry);
}

TEST_P(EveryLookupKernelSet, TakesEachEntryFromItsPlace) {
  constexpr std::size_t kBytes = 40;
  for (std::size_t table = 0; table < 2 * kBytes; ++table) {
    for (std::size_t place = 0; place < 16; ++place) {
      std::vector<std::uint8_t> tables(32 * kBytes, 0);
      tables[16 * table + place] = 1;
      const std::vector<std::uint8_t> blocks = RandomBytes(16 * kBytes, 256, 4);
      std::uint16_t sums[16] = {};
      kernels_.sum_entries(tables.data(), kBytes, blocks.data(), 16, sums);
      for (std::size_t i = 0; i < 16; ++i)
        EXPECT_EQ(sums[i], SumOf(tables, kBytes, blocks, i)) << "table " << table << ", place " << place;
    }
  }
}

std::vector<float> RandomFloats(std::size_t count, float largest, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> numbers(0.0F, largest);
  std::vector<float> floats(count);
  for (float& one : floats) one = numbers(random);
  return floats;
}

template <typename T>
const T* AtTheEnd(const GuardedPages& pages, const std::vector<T>& values, std::size_t count) {
  return pages.AtTheEnd(values.data(), count);
}

TEST_P(EveryLookupKernelSet, TellsToTheLastBitWhichBoundsAreWithinACutAndReadsNothingBehind) {
  const BoundWeights weights = {1234.567F, 0.7F, 1.0F / 3.0F, 777.7F, 11.1F};
  const std::vector<std::uint8_t> bytes = RandomBytes(64, 256, 5);
  std::vector<std::uint16_t> sums(64);
  for (std::size_t i = 0; i < sums.size(); ++i) sums[i] = static_cast<std::uint16_t>(bytes[i] * 257U);
  const std::vector<float> terms = RandomFloats(64, 1e4F, 6);
  const std::vector<float> scales = RandomFloats(64, 3.0F, 7);
  const std::vector<float> spreads = RandomFloats(64, 30.0F, 8);
  for (std::size_t count = 1; count <= 64; ++count) {
    const GuardedPages pages[4] = {GuardedPages(1), GuardedPages(1), GuardedPages(1), GuardedPages(1)};
    // Sums have room for whole blocks; of the others nothing is behind.
    const BoundRows rows = {AtTheEnd(pages[0], sums, (count + 15) / 16 * 16),
                            AtTheEnd(pages[1], terms, count), AtTheEnd(pages[2], scales, count),
                            AtTheEnd(pages[3], spreads, count)};
    for (std::size_t row = 0; row < count; ++row) {
      const float bound = BoundOf(weights, rows, row);
      const float infinity = std::numeric_limits<float>::infinity();
      for (const float cut : {bound, std::nextafter(bound, -infinity)}) {
        std::uint64_t expected = 0;
        for (std::size_t i = 0; i < count; ++i)
          expected |= std::uint64_t{BoundOf(weights, rows, i) > cut ? 0U : 1U} << i;
        EXPECT_EQ(kernels_.within(weights, rows, count, cut), expected) << row << " of " << count;
      }
    }
  }
}

TEST_P(EveryLookupKernelSet, TakesNaNForWithin) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<std::uint16_t> sums(48, 1);
  std::vector<float> terms(37, 5.0F);
  terms[3] = terms[20] = terms[36] = nan;
  const std::vector<float> ones(37, 1.0F);
  const BoundWeights weights = {0.0F, 1.0F, 1.0F, 0.0F, 1.0F};
  const BoundRows rows = {sums.data(), terms.data(), ones.data(), ones.data()};
  EXPECT_EQ(kernels_.within(weights, rows, 37, 1.0F),
            std::uint64_t{1} << 3 | std::uint64_t{1} << 20 | std::uint64_t{1} << 36);
  EXPECT_EQ(kernels_.within(weights, rows, 37, nan), (std::uint64_t{1} << 37) - 1U);
}

}  // namespace
}  // namespace tandem::vec
