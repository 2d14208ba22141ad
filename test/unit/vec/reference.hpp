#pragma once
// Double-precision references for the distance kernels, and the error that a kernel is allowed.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

namespace tandem::vec::test {

/// A sum in double and the sum of its terms' magnitudes, which scales the allowed error.
struct ReferenceSum {
  double value = 0.0;
  double magnitude = 0.0;

  void Add(double term) {
    value += term;
    magnitude += std::fabs(term);
  }
};

inline ReferenceSum L2SquaredReference(const float* a, const float* b, std::size_t n) {
  ReferenceSum sum;
  for (std::size_t i = 0; i < n; ++i) {
    const double difference = static_cast<double>(a[i]) - static_cast<double>(b[i]);
    sum.Add(difference * difference);
  }
  return sum;
}

inline ReferenceSum InnerProductReference(const float* a, const float* b, std::size_t n) {
  ReferenceSum sum;
  for (std::size_t i = 0; i < n; ++i) sum.Add(static_cast<double>(a[i]) * static_cast<double>(b[i]));
  return sum;
}

inline ReferenceSum L1Reference(const float* a, const float* b, std::size_t n) {
  ReferenceSum sum;
  for (std::size_t i = 0; i < n; ++i) {
    sum.Add(std::fabs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
  }
  return sum;
}

/// How far a kernel may be from the reference. Every set keeps at least 16 lanes, so a lane makes at most
/// n / 16 + 1 additions; a term brings up to 3 roundings of its own (difference twice, square), the folding of
/// accumulators 2, the conversion to float32 1. Each rounding costs at most 2^-24 of the magnitudes summed, or
/// half the smallest denormal.
inline double AllowedError(const ReferenceSum& reference, std::size_t n) {
  const double roundings = static_cast<double>(n) / 16.0 + 7.0;
  const double smallest = static_cast<double>(std::numeric_limits<float>::denorm_min());
  return roundings * std::ldexp(reference.magnitude, -24) + static_cast<double>(n + 1) * smallest;
}

inline std::vector<float> RandomVector(std::size_t n, std::uint32_t seed, float low = -1.0F,
                                       float high = 1.0F) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(low, high);
  std::vector<float> values(n);
  for (float& value : values) value = uniform(random);
  return values;
}

inline std::vector<float> RandomBytes(std::size_t n, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::uniform_int_distribution<int> uniform(0, 255);
  std::vector<float> values(n);
  for (float& value : values) value = static_cast<float>(uniform(random));
  return values;
}

inline std::uint32_t Bits(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

}  // namespace tandem::vec::test
