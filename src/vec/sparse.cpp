#include "vec/sparse.hpp"

#include <algorithm>
#include <cmath>

namespace tandem::vec {
namespace {

/// Walks both by ascending index and sums Term(value of a, value of b), where either is 0 if the index is missing.
template <typename Term>
float SumOverBoth(SparseView a, SparseView b, Term term) noexcept {
  double sum = 0.0;
  std::size_t i = 0;
  std::size_t j = 0;
  while (i < a.count && j < b.count) {
    if (a.indices[i] == b.indices[j]) {
      sum += term(static_cast<double>(a.values[i++]), static_cast<double>(b.values[j++]));
    } else if (a.indices[i] < b.indices[j]) {
      sum += term(static_cast<double>(a.values[i++]), 0.0);
    } else {
      sum += term(0.0, static_cast<double>(b.values[j++]));
    }
  }
  for (; i < a.count; ++i) sum += term(static_cast<double>(a.values[i]), 0.0);
  for (; j < b.count; ++j) sum += term(0.0, static_cast<double>(b.values[j]));
  return static_cast<float>(sum);
}

constexpr std::size_t kWordBits = 64;

/// The inner product with itself, to the bit.
float SquaredLength(SparseView vector) noexcept {
  double sum = 0.0;
  for (std::size_t i = 0; i < vector.count; ++i)
    sum += static_cast<double>(vector.values[i]) * static_cast<double>(vector.values[i]);
  return static_cast<float>(sum);
}

}  // namespace

float SparseL2Squared(SparseView a, SparseView b) noexcept {
  return SumOverBoth(a, b, [](double x, double y) { return (x - y) * (x - y); });
}

float SparseInnerProduct(SparseView a, SparseView b) noexcept {
  // What only one of them has adds zero, which changes no sum.
  double sum = 0.0;
  for (std::size_t i = 0, j = 0; i < a.count && j < b.count;) {
    const std::int32_t left = a.indices[i];
    const std::int32_t right = b.indices[j];
    if (left == right) sum += static_cast<double>(a.values[i]) * static_cast<double>(b.values[j]);
    i += left <= right ? 1 : 0;
    j += right <= left ? 1 : 0;
  }
  return static_cast<float>(sum);
}

float SparseL1(SparseView a, SparseView b) noexcept {
  return SumOverBoth(a, b, [](double x, double y) { return std::fabs(x - y); });
}

double SparseDistance(Metric metric, SparseView a, SparseView b) noexcept {
  switch (metric) {
    case Metric::kL2:
      return std::sqrt(static_cast<double>(SparseL2Squared(a, b)));
    case Metric::kInnerProduct:
      return -static_cast<double>(SparseInnerProduct(a, b));
    case Metric::kCosine:
      return CosineDistance(SparseInnerProduct(a, b), SparseInnerProduct(a, a), SparseInnerProduct(b, b));
    case Metric::kL1:
      return SparseL1(a, b);
  }
  return 0.0;
}

std::size_t SparseQueryDistance::MarkWords(std::size_t count) noexcept {
  // A bit in 64 is set where most queries are, one in 16 where they have most elements: 32 KB.
  constexpr std::size_t kFewestWords = 64;
  constexpr std::size_t kMostWords = 4096;
  std::size_t words = kFewestWords;
  while (words < kMostWords && words < count) words *= 2;
  return words;
}

SparseQueryDistance::SparseQueryDistance(Metric metric, SparseView query, std::uint64_t* marks) noexcept
    : metric_(metric),
      query_(query),
      marks_(marks),
      mark_mask_(static_cast<std::uint32_t>(MarkWords(query.count) * kWordBits - 1)),
      query_norm_squared_(metric == Metric::kCosine ? SparseInnerProduct(query, query) : 0.0F) {
  std::fill_n(marks, MarkWords(query.count), std::uint64_t{0});
  for (std::size_t i = 0; i < query.count; ++i) {
    const std::uint32_t bit = static_cast<std::uint32_t>(query.indices[i]) & mark_mask_;
    marks[bit / kWordBits] |= std::uint64_t{1} << bit % kWordBits;
  }
}

/// SparseInnerProduct(), to the bit. Most elements are in one of the vectors only, which a look at a bit tells; to go through both
/// by turns takes three times as long.
float SparseQueryDistance::InnerProduct(SparseView vector) const noexcept {
  double sum = 0.0;
  std::size_t j = 0;
  for (std::size_t i = 0; i < vector.count; ++i) {
    const std::uint32_t bit = static_cast<std::uint32_t>(vector.indices[i]) & mark_mask_;
    if ((marks_[bit / kWordBits] >> bit % kWordBits & 1U) == 0) continue;
    while (j < query_.count && query_.indices[j] < vector.indices[i]) ++j;
    if (j == query_.count) break;
    if (query_.indices[j] == vector.indices[i])
      sum += static_cast<double>(query_.values[j]) * static_cast<double>(vector.values[i]);
  }
  return static_cast<float>(sum);
}

double SparseQueryDistance::Key(SparseView vector) const noexcept {
  switch (metric_) {
    case Metric::kL2:
      return static_cast<double>(SparseL2Squared(query_, vector));
    case Metric::kInnerProduct:
      return -static_cast<double>(InnerProduct(vector));
    case Metric::kCosine:
      return CosineDistance(InnerProduct(vector), query_norm_squared_, SquaredLength(vector));
    case Metric::kL1:
      return static_cast<double>(SparseL1(query_, vector));
  }
  return 0.0;
}

}  // namespace tandem::vec
