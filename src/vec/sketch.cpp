#include "vec/sketch.hpp"

#include <algorithm>
#include <limits>

namespace tandem::vec {
namespace {

/// The last steps of MurmurHash3 (Appleby): a bijection of 32 bits in which every bit of the index moves all others. Part of the
/// format of indexes: another hash makes other sketches.
std::uint32_t Hash(std::uint32_t index) noexcept {
  std::uint32_t h = index;
  h ^= h >> 16;
  h *= 0x85EBCA6BU;
  h ^= h >> 13;
  h *= 0xC2B2AE35U;
  h ^= h >> 16;
  return h;
}

constexpr int kHashBits = 32;
constexpr int kWidthBits = 11;
static_assert(std::size_t{1} << kWidthBits == kSketchWidth, "the highest bits of the hash name the sum");

std::size_t SumOf(std::uint32_t hash) noexcept {
  return hash >> (kHashBits - kWidthBits);
}

float SignOf(std::uint32_t hash) noexcept {
  return (hash & 1U) != 0 ? 1.0F : -1.0F;
}

/// So little that distances do not notice it.
constexpr float kTrace = 0x1p-20F;

bool AllZero(const float* numbers, std::size_t n) noexcept {
  return std::all_of(numbers, numbers + n, [](float x) { return x == 0.0F; });
}

/// Gives sums that cancelled each other the direction of one element.
void LeaveTrace(std::uint32_t index, float value, float* sums) noexcept {
  if (!AllZero(sums, kSketchWidth)) return;
  const std::uint32_t hash = Hash(index);
  sums[SumOf(hash)] = SignOf(hash) * value * kTrace;
}

constexpr std::uint32_t kBitsOfByte = 8;

bool IsSet(const unsigned char* bits, std::uint32_t index) noexcept {
  return (bits[index / kBitsOfByte] >> (kBitsOfByte - 1 - index % kBitsOfByte) & 1U) != 0;
}

}  // namespace

void MakeSketch(SparseView vector, std::size_t dimensions, float* to) noexcept {
  constexpr float kLargest = std::numeric_limits<float>::max();
  std::fill_n(to, WidenedDimensions(Element::kSparse, dimensions), 0.0F);
  if (dimensions <= kSketchWidth) {
    // No content of an index makes this leave its memory.
    for (std::size_t i = 0; i < vector.count; ++i)
      if (static_cast<std::uint32_t>(vector.indices[i]) < dimensions)
        to[vector.indices[i]] = vector.values[i];
    return;
  }
  for (std::size_t i = 0; i < vector.count; ++i) {
    const std::uint32_t hash = Hash(static_cast<std::uint32_t>(vector.indices[i]));
    float& sum = to[SumOf(hash)];
    sum = std::clamp(sum + SignOf(hash) * vector.values[i], -kLargest, kLargest);
  }
  if (vector.count > 0) LeaveTrace(static_cast<std::uint32_t>(vector.indices[0]), vector.values[0], to);
}

void MakeSketchOfBits(const unsigned char* bits, std::size_t n, float* to) noexcept {
  std::fill_n(to, kSketchWidth, 0.0F);
  const auto count = static_cast<std::uint32_t>(n);
  std::uint32_t last_set = count;
  for (std::uint32_t i = 0; i < count; ++i) {
    if (!IsSet(bits, i)) continue;
    last_set = i;
    const std::uint32_t hash = Hash(i);
    to[SumOf(hash)] += SignOf(hash);
  }
  if (last_set < count) LeaveTrace(last_set, 1.0F, to);
}

}  // namespace tandem::vec
