#pragma once
// Sketches: what sparse vectors and very long bit strings are to graphs, which know vectors of some hundred dimensions, at most 16,000.

#include <cstddef>
#include <cstdint>

#include "vec/element.hpp"
#include "vec/metric.hpp"
#include "vec/sparse.hpp"

namespace tandem::vec {

/// Dimensions of a sketch. Not a setting: codes, graphs and queries of an index must agree on it for ever.
constexpr std::size_t kSketchWidth = 2048;

/// The most bits that graphs are built of as they are.
constexpr std::size_t kMostWidenedBits = 16000;

/// Dimensions of a row as Widen() makes it of `dimensions` elements.
[[nodiscard]] constexpr std::size_t WidenedDimensions(Element element, std::size_t dimensions) noexcept {
  const bool is_long = (element == Element::kSparse && dimensions > kSketchWidth) ||
                       (element == Element::kBit && dimensions > kMostWidenedBits);
  return is_long ? kSketchWidth : dimensions;
}

/// True if distances between widened rows are not those between the rows. A count sketch (Charikar, Chen and Farach-Colton 2002;
/// feature hashing: Weinberger et al. 2009) adds each element, with a sign, to one of kSketchWidth sums, by hashes of its index.
/// Inner products and squared L2 distances stay what they are on average, with a standard deviation of about 1 / 45 of the product
/// of the lengths; L1 distances never grow (HoldsBound()).
[[nodiscard]] constexpr bool IsSketched(Element element, std::size_t dimensions) noexcept {
  return WidenedDimensions(element, dimensions) != dimensions;
}

/// True if no row is nearer than what graphs know of it, so that lower bounds of distances by code hold for the rows as well: of
/// sketches in L1 only, since what falls into one sum differs by the sum of its differences at the most.
[[nodiscard]] constexpr bool HoldsBound(Element element, std::size_t dimensions, Metric metric) noexcept {
  return !IsSketched(element, dimensions) || metric == Metric::kL1;
}

/// A sparse vector as floats: itself where `dimensions` is at most kSketchWidth, else its sketch. to: WidenedDimensions() of them.
/// Always the same bits. Zero only for a vector without elements: where they cancel each other, a millionth of the
/// first one is left, so that it has a direction.
void MakeSketch(SparseView vector, std::size_t dimensions, float* to) noexcept;

/// The sketch of `n` bits as zeros and ones, n > kMostWidenedBits, as type bit stores them. to: kSketchWidth sums. Zero only if no bit is set.
void MakeSketchOfBits(const unsigned char* bits, std::size_t n, float* to) noexcept;

}  // namespace tandem::vec
