// Walk codes and queries prepared for them.

#include "vec/walk_query.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace tandem::vec {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
// Roundings of float32: of a key to 24 bits, of the true distance in its kernel.
constexpr double kRounding = 0x1p-18;

/// base + unit * key is the negative inner product by code.
double SumOfProducts(const float* a, const float* b, std::size_t n) noexcept {
  double sum = 0.0;
  for (std::size_t d = 0; d < n; ++d) sum += static_cast<double>(a[d]) * static_cast<double>(b[d]);
  return sum;
}

}  // namespace

std::size_t WalkCodeBytes(WalkCode code, std::size_t dimensions) noexcept {
  switch (code) {
    case WalkCode::kSq8:
      return (dimensions + 3) / 4 * 4;
    case WalkCode::kSq4:
      return (dimensions + 7) / 8 * 4 + sizeof(float);
  }
  return 0;
}

void MakeWalkCode(const WalkCodec& codec, const std::uint8_t* code8, std::uint8_t* to) noexcept {
  const std::size_t n = codec.base.dimensions;
  std::copy_n(code8, n, to);
  std::fill(to + n, to + WalkCodeBytes(WalkCode::kSq8, n), std::uint8_t{0});
}

std::size_t WalkQuery::ScratchBytes(std::size_t dimensions) noexcept {
  return (dimensions * sizeof(std::int16_t) + 63) / 64 * 64;
}

WalkQuery::WalkQuery(const WalkCodec& codec, const float* query, void* scratch) noexcept
    : base_(codec.base, query, static_cast<std::int16_t*>(scratch)),
      code_(codec.code),
      metric_(codec.base.metric),
      unit_(static_cast<double>(codec.base.step)),
      error_(static_cast<double>(codec.error)) {
  const std::size_t n = codec.base.dimensions;
  if (!IsCodable(metric_, query, n)) error_ = kInfinity;
  if (metric_ == Metric::kInnerProduct) {
    double largest = 0.0;
    for (std::size_t d = 0; d < n; ++d) largest = std::max(largest, std::fabs(static_cast<double>(query[d])));
    unit_ *= largest / QueryLimitDot(n);
    constant_ = -SumOfProducts(query, codec.base.offset, n);
    error_ *= std::sqrt(SumOfProducts(query, query, n));
  }
}

float WalkQuery::Key(const std::uint8_t* code) const noexcept {
  return base_.Key(code);
}

void WalkQuery::Keys(const std::uint8_t* const* codes, std::size_t count, float* keys) const noexcept {
  for (std::size_t i = 0; i < count; ++i) keys[i] = base_.Key(codes[i]);
}

double WalkQuery::LowerBound(float key) const noexcept {
  if (!(error_ < kInfinity)) return -kInfinity;
  switch (metric_) {
    case Metric::kL2:
    case Metric::kCosine: {
      const double distance =
          std::max(0.0, std::sqrt(std::max(0.0, static_cast<double>(key))) * unit_ - error_);
      const double squared = distance * distance * (1.0 - kRounding);
      return metric_ == Metric::kL2 ? squared : squared / 2.0;
    }
    case Metric::kL1:
      return std::max(0.0, static_cast<double>(key) * unit_ * (1.0 - kRounding) - error_);
    case Metric::kInnerProduct:
      return constant_ + static_cast<double>(key) * unit_ - error_;
  }
  return -kInfinity;
}

}  // namespace tandem::vec
