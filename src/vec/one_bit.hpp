#pragma once
// A code of one bit a dimension, made of a walk code of 8 or 4 bits: an eighth or a quarter of its bytes, which tell how small its
// key may be at the least (RaBitQ: Gao and Long 2024). What is bounded is the key itself, not a distance: no residual of the walk
// code comes in.

#include <cstddef>
#include <cstdint>

#include "vec/lookup_kernels.hpp"
#include "vec/walk_query.hpp"

namespace tandem::vec {

/// True if this CPU compares such codes in less time than the walk codes that they are made of.
[[nodiscard]] bool OneBitPays(const WalkCodec& codec) noexcept;

/// Bytes of a row's bits, a multiple of 8.
[[nodiscard]] constexpr std::size_t OneBitBytes(std::size_t dimensions) noexcept {
  return (dimensions + 63) / 64 * 8;
}

/// What a walk code of 8 or 4 bits stands for, in units of 8-bit codes. values: `dimensions` floats to write.
void WalkValues(const WalkCodec& codec, const std::uint8_t* code, float* values) noexcept;

/// Where values are measured from: `dimensions` floats, as WalkValues() has them. Bounds hold whatever they are, if they are the
/// same for rows and queries; they are the nearer to the keys, the nearer that is to the middle of the rows.
using OneBitCentre = const float*;

/// What is known of a row beside its bits: three runs of floats, each with one for every row.
struct OneBitFactors {
  float term;    ///< what the key has of the row alone, or a little less
  float scale;   ///< times the product of signs with a query: the estimate of the product of the vectors
  float spread;  ///< its standard deviation for a query of length 1, or a little more
};

/// Makes bits of a walk code. bits: where the row begins in a block of rows (PlaceInBlocks()); nothing of other rows is written.
/// scratch: OneBitScratch() bytes, aligned to 16. The same bits whenever it is done on one CPU.
[[nodiscard]] OneBitFactors MakeOneBit(const WalkCodec& codec, OneBitCentre centre, const std::uint8_t* code,
                                       float* scratch, unsigned char* bits) noexcept;
[[nodiscard]] constexpr std::size_t OneBitScratch(std::size_t dimensions) noexcept {
  return OneBitBytes(dimensions) * 8 * sizeof(float);
}

/// Rows whose bits lie in blocks (lookup_kernels.hpp), beginning with a block's first, and whose factors lie end to end.
struct OneBitRows {
  const unsigned char* bits;
  const float* terms;
  const float* scales;
  const float* spreads;
};

/// A prepared walk query, prepared for bits too.
class OneBitQuery {
 public:
  OneBitQuery() noexcept = default;
  /// query: prepared for codes of 8 or 4 bits; not needed afterwards. scratch: ScratchBytes(), aligned to 64, must outlive this
  /// object.
  OneBitQuery(const WalkCodec& codec, OneBitCentre centre, const WalkQuery& query, void* scratch) noexcept;
  [[nodiscard]] static std::size_t ScratchBytes(std::size_t dimensions) noexcept {
    return 2 * 16 * OneBitBytes(dimensions) + OneBitScratch(dimensions);
  }

  /// False if nothing is known by bits: the query's keys are all the same, or not finite.
  [[nodiscard]] bool is_usable() const noexcept { return is_usable_; }

  /// bounds[i] = what the key of row i's walk code is at least, but for one case in millions (README.md).
  void Bounds(const OneBitRows& rows, std::size_t count, float* bounds) const noexcept;
  /// Bit i: the bound of row i is not larger than `cut`, or one of them is NaN.
  [[nodiscard]] std::uint64_t Within(const OneBitRows& rows, std::size_t count, float cut) const noexcept;
  static constexpr std::size_t kMostRows = 64;  ///< at a time

 private:
  const LookupKernels* kernels_ = nullptr;
  const std::uint8_t* tables_ = nullptr;
  std::size_t bytes_ = 0;
  BoundWeights weights_ = {};
  bool is_usable_ = false;
};

}  // namespace tandem::vec
