#pragma once
// Exact distances to rows as an index stores them.

#include <cstddef>

#include "vec/bit_kernels.hpp"
#include "vec/element.hpp"
#include "vec/metric.hpp"
#include "vec/sketch.hpp"
#include "vec/sparse.hpp"

namespace tandem::vec {

/// Sets of bits have distances of their own. Graphs are built by the metric of zeros and ones that stands for each:
///   Hamming   Metric::kL2, whose square, which is what keys are, is the number of bits that differ
///   Jaccard   Metric::kCosine, which bounds it (JaccardBound())
[[nodiscard]] constexpr bool IsJaccard(Metric metric, Element element) noexcept {
  return element == Element::kBit && metric == Metric::kCosine;
}

/// Bytes of a row of `dimensions` elements. row: looked at only where its length tells.
[[nodiscard]] inline std::size_t RowBytes(Element element, std::size_t dimensions, const void* row) noexcept {
  return element == Element::kSparse ? SparseRowBytes(row) : BytesOf(element, dimensions);
}

/// An operator that is none of ours on values of the same form. Its numbers differ from ours by how they are rounded, so the rows of
/// an index are only in the order that it sees if it computes their distances.
struct ForeignOperator {
  double (*value)(void* state, const void* row) = nullptr;  ///< nullptr: the operator is ours
  void* state = nullptr;                                    ///< what `value` knows the query by
};

/// QueryDistance for rows of any kind of element, with the very numbers of the operator of their type. Holds pointers to the
/// query and to `room`, which must outlive it. Thread-safe: immutable.
class RowDistance {
 public:
  RowDistance() noexcept = default;
  /// True if rows are compared with the query as a row has it, not as it was widened.
  [[nodiscard]] static constexpr bool ComparesRows(Element element) noexcept {
    return element == Element::kBit || element == Element::kSparse;
  }

  /// dimensions: of the column. query: as Widen() makes it. room: RoomBytes(), aligned to 8; where ComparesRows(), the query as a row
  /// has it lies there, and what is made of it comes behind.
  /// foreign: computes distances instead, in the thread and for the time that it was made for.
  RowDistance(Metric metric, Element element, const float* query, std::size_t dimensions, void* room,
              const ForeignOperator& foreign = {}) noexcept
      : distance_(metric, query, WidenedDimensions(element, dimensions)),
        element_(element),
        foreign_(foreign),
        bits_(static_cast<const unsigned char*>(room)),
        bit_bytes_(BytesOf(Element::kBit, dimensions)),
        bit_kernels_(&CountBits()) {
    if (element == Element::kSparse) sparse_ = SparseDistanceTo(metric, room);
  }

  [[nodiscard]] static constexpr std::size_t RoomBytes(Element element, std::size_t dimensions) noexcept {
    if (element == Element::kSparse)
      return LongestSparseRow(dimensions) +
             SparseQueryDistance::MarkWords(kMostSparseElements) * sizeof(std::uint64_t);
    return element == Element::kBit ? BytesOf(element, dimensions) : 0;
  }

  [[nodiscard]] bool IsForeign() const noexcept { return foreign_.value != nullptr; }

  /// row: as many elements as the query has, at any alignment; a sparse one aligned to 4.
  [[nodiscard]] double Key(const void* row) const noexcept {
    if (foreign_.value != nullptr) return KeyOf(foreign_.value(foreign_.state, row));
    switch (element_) {
      case Element::kFloat32:
        return distance_.Key(static_cast<const float*>(row));
      case Element::kFloat16:
        return distance_.Key(static_cast<const Half*>(row));
      case Element::kBit:
        return BitKey(static_cast<const unsigned char*>(row));
      case Element::kSparse:
        return sparse_.Key(ViewOfRow(row));
    }
    return 0.0;
  }

  /// The operator's value for a key.
  [[nodiscard]] double Distance(double key) const noexcept {
    return element_ == Element::kBit ? key : distance_.Distance(key);
  }

 private:
  /// room: RoomBytes() with the query's row.
  [[nodiscard]] static SparseQueryDistance SparseDistanceTo(Metric metric, void* room) noexcept {
    auto* behind = static_cast<char*>(room) + SparseRowBytes(room);
    return {metric, ViewOfRow(room), reinterpret_cast<std::uint64_t*>(behind)};
  }

  /// Distance()'s inverse. The root of a double's square is that double, to the bit.
  [[nodiscard]] double KeyOf(double distance) const noexcept {
    const bool is_squared = distance_.metric() == Metric::kL2 && element_ != Element::kBit;
    return is_squared ? distance * distance : distance;
  }

  [[nodiscard]] double BitKey(const unsigned char* row) const noexcept {
    if (IsJaccard(distance_.metric(), element_))
      return JaccardDistance(bit_kernels_->overlap(bits_, row, bit_bytes_));
    return static_cast<double>(bit_kernels_->hamming(bits_, row, bit_bytes_));
  }

  QueryDistance distance_;
  Element element_ = Element::kFloat32;
  ForeignOperator foreign_;
  const unsigned char* bits_ = nullptr;
  std::size_t bit_bytes_ = 0;
  const BitKernels* bit_kernels_ = nullptr;
  SparseQueryDistance sparse_;
};

}  // namespace tandem::vec
