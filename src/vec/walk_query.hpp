#pragma once
// What a graph is walked on: the code of a node as searches compare it with a query.
//
//   kSq8   the segment's own 8-bit code (scalar_quantizer.hpp)
//   kSq4   4 bits a dimension, made of the 8-bit code: half of the bytes to fetch, which is what a walk of wide vectors
//          waits for. Not for L1.
//   kFp16, kFloat32   the vector itself, in units of the 8-bit codes around their middle, rounded to float16 or float32:
//          where 8 bits do not tell neighbours apart. Made of the full vector, which only a node of one row has: others'
//          codes stand for what their 8-bit codes stand for ("shared" nodes).
//   kBit   the bits of a row of bits: there is no 8-bit code, graphs are built on these as well. Keys are its distances (ExactKey()).
//
// Keys choose candidates; the distance that counts is computed from the full vector. LowerBound() tells which candidates
// need not be looked at for that.

#include <cstddef>
#include <cstdint>

#include "vec/code_kernels.hpp"
#include "vec/scalar_quantizer.hpp"

namespace tandem::vec {

/// Stored in segments: numbers keep their meaning.
enum class WalkCode : std::uint8_t { kSq8 = 1, kSq4 = 2, kFp16 = 3, kFloat32 = 4, kBit = 5 };

/// As the index option "codec" has it; "unknown" for a number that stands for none.
[[nodiscard]] constexpr const char* NameOf(WalkCode code) noexcept {
  switch (code) {
    case WalkCode::kSq8:
      return "sq8";
    case WalkCode::kSq4:
      return "sq4";
    case WalkCode::kFp16:
      return "fp16";
    case WalkCode::kFloat32:
      return "float32";
    case WalkCode::kBit:
      return "bit";
  }
  return "unknown";
}

/// True if codes are made of vectors, false if of 8-bit codes.
[[nodiscard]] constexpr bool IsMadeOfVectors(WalkCode code) noexcept {
  return code == WalkCode::kFp16 || code == WalkCode::kFloat32;
}

/// Bytes of the code of so many bits: type bit's form, filled up with zeros.
[[nodiscard]] constexpr std::size_t BitCodeBytes(std::size_t bits) noexcept {
  return (bits + 31) / 32 * 4;
}

/// Bytes of the code that a graph is built on and a segment keeps of each node: of 8 bits a dimension, or the bits.
[[nodiscard]] constexpr std::size_t RecordCodeBytes(WalkCode code, std::size_t dimensions) noexcept {
  return code == WalkCode::kBit ? BitCodeBytes(dimensions) : dimensions;
}

/// How the nodes of one segment are walked. Owns nothing.
struct WalkCodec {
  WalkCode code = WalkCode::kSq8;
  ScalarQuantizer
      base;  ///< of the 8-bit codes, which walk codes are made of; kBit: metric and dimensions alone
  const float* centre =
      nullptr;  ///< kSq4: dimensions floats, the middle of the 16 levels, in units of 8-bit codes
  const float* step = nullptr;  ///< kSq4: dimensions floats, between two levels, 1 … 16 units of 8-bit codes
  /// By how much a distance by code exceeds the true one at the most. L2: of the distance, not its square. Cosine: of the
  /// distance between the normalised vectors. Inner product: per unit of the query's norm. Infinity: not known.
  /// Codes made of vectors: no WalkResidual() of any row is larger, so nothing is left to chance.
  float error = 0.0F;
  /// What was trained was trained on vectors whose WalkResidual(), or Sq8Residual() if codes are made of vectors, is at most this.
  float reach = 0.0F;
  float shared_error =
      0.0F;  ///< if codes are made of vectors: `error` of nodes of several rows, the largest Sq8Residual()
};

/// Bytes of a walk code, a multiple of 4.
[[nodiscard]] std::size_t WalkCodeBytes(WalkCode code, std::size_t dimensions) noexcept;

/// Makes the code of a vector that a segment keeps. `to`: RecordCodeBytes(). vector: codable; kBit: zeros and ones.
void MakeRecordCode(const WalkCodec& codec, const float* vector, std::uint8_t* to) noexcept;

/// Makes a walk code of the code that a segment keeps. `to`: WalkCodeBytes(), aligned to 4. For codes that are made of vectors, it
/// stands for what the 8-bit code stands for.
void MakeWalkCode(const WalkCodec& codec, const std::uint8_t* record_code, std::uint8_t* to) noexcept;

/// Makes a walk code of a vector, for codes that are, and for kBit. The same bits whenever it is done on one CPU. vector: codable.
void MakeWalkCode(const WalkCodec& codec, const float* vector, std::uint8_t* to) noexcept;

/// How far what a code stands for is from its vector, in the units of WalkCodec::error: by that much at the most can the distance
/// from a query to the code exceed the one to the vector. Large for vectors unlike those that the codec was trained on. With
/// codes made of vectors: of the vector's own code, whatever code8 is, and what float32 may round in either distance is counted
/// in. kBit: 0.
[[nodiscard]] double WalkResidual(const WalkCodec& codec, const float* vector,
                                  const std::uint8_t* code8) noexcept;

/// The same for what the 8-bit code stands for.
[[nodiscard]] double Sq8Residual(const WalkCodec& codec, const float* vector,
                                 const std::uint8_t* code8) noexcept;

/// No sets of bits with at least this cosine distance are nearer in Jaccard distance. With c common of a and b elements, the
/// cosine similarity is s = c / sqrt(a b), the Jaccard similarity c / (a + b - c) <= s / (2 - s), equal if a = b: the distance
/// is at least 2 d / (1 + d) for a cosine distance d. A share is taken off for what was rounded. Ascends.
[[nodiscard]] inline double JaccardBound(double cosine_distance) noexcept {
  constexpr double kRounding = 1e-6;
  if (!(cosine_distance > 0.0)) return cosine_distance;  // also minus infinity: not known
  return (2.0 - kRounding) * cosine_distance / (1.0 + cosine_distance);
}

/// A query prepared for one segment.
class WalkQuery {
 public:
  WalkQuery() noexcept = default;
  /// query: `dimensions` floats, not needed afterwards. scratch: ScratchBytes(), aligned to 64, must outlive this object, as
  /// must what `codec` points to. A query that is not codable gives one whose keys are all equal.
  WalkQuery(const WalkCodec& codec, const float* query, void* scratch) noexcept;
  [[nodiscard]] static std::size_t ScratchBytes(std::size_t dimensions) noexcept;

  /// Ascending = farther; comparable among codes of this segment only. Never NaN. Every instruction set gives the same bits,
  /// except with codes made of vectors, whose sums are of floats: one CPU always gives the same.
  [[nodiscard]] float Key(const std::uint8_t* code) const noexcept;
  /// keys[i] = Key(codes[i]): one call for all neighbours of a node, so that the kernel's dispatch is paid once.
  void Keys(const std::uint8_t* const* codes, std::size_t count, float* keys) const noexcept;

  /// No vector whose code has this key is nearer than that, in the units of QueryDistance::Key() (beyond the error that was
  /// calibrated: WalkCodec::error). Ascends with `key`. -infinity if the error is not known.
  [[nodiscard]] double LowerBound(float key) const noexcept { return Scaled(LowerBound(key, error_)); }
  /// The same for a node of several rows; no nearer.
  [[nodiscard]] double SharedLowerBound(float key) const noexcept {
    return Scaled(LowerBound(key, shared_error_));
  }
  /// From here on, lower bounds are of the Jaccard distance between sets of bits, which the metric's, cosine, stands for. (Those
  /// of kBit always are.)
  void BoundJaccard() noexcept { bounds_jaccard_ = code_ != WalkCode::kBit; }
  /// True if a key says how far any row of its code is: ExactKey() is what RowDistance::Key() computes of each, to the bit.
  [[nodiscard]] bool IsExact() const noexcept;
  [[nodiscard]] double ExactKey(float key) const noexcept;
  /// About how far a vector is whose code has this key, in the units of the metric.
  [[nodiscard]] double Estimate(float key) const noexcept;
  /// What 4-bit codes are compared with; nullptr if codes are others.
  [[nodiscard]] const NibbleQuery* nibbles() const noexcept {
    return code_ == WalkCode::kSq4 ? &nibbles_ : nullptr;
  }
  /// What 8-bit codes are compared with, `dimensions` numbers: keys are the squared distance, or the negative inner product if
  /// IsProduct(). nullptr if codes are others.
  [[nodiscard]] const std::int16_t* eights() const noexcept { return query_; }
  [[nodiscard]] bool IsProduct() const noexcept { return metric_ == Metric::kInnerProduct; }
  /// About the least key whose lower bound is `distance`. Infinity if the error is not known.
  [[nodiscard]] float KeyOfBound(double distance) const noexcept;

 private:
  [[nodiscard]] double LowerBound(float key, double error) const noexcept;
  [[nodiscard]] double Scaled(double bound) const noexcept {
    return bounds_jaccard_ ? JaccardBound(bound) : bound;
  }
  void KeysOfReals(const std::uint8_t* const* codes, std::size_t count, float* keys) const noexcept;
  void KeysOfBits(const std::uint8_t* const* codes, std::size_t count, float* keys) const noexcept;
  void PrepareReals(const WalkCodec& codec, const float* query, float* scratch) noexcept;
  void PrepareRealProduct(const WalkCodec& codec, const float* query, float* scratch) noexcept;
  void PrepareSq8(const WalkCodec& codec, const float* query, std::int16_t* scratch) noexcept;
  void PrepareSq4(const WalkCodec& codec, const float* query, std::int8_t* scratch) noexcept;
  void PrepareSq4Product(const WalkCodec& codec, const float* query, std::int8_t* low,
                         std::int8_t* high) noexcept;
  void PrepareSq4Difference(const WalkCodec& codec, const float* query, std::int8_t* low,
                            std::int8_t* high) noexcept;

  const CodeKernels* kernels_ = nullptr;
  WalkCode code_ = WalkCode::kSq8;
  Metric metric_ = Metric::kL2;
  std::uint32_t dimensions_ = 0;
  /// kSq8. L2, cosine and L1: in units of the codes, but not clamped to their range, only so far out that 32-bit sums could
  /// overflow. Inner product: in units of its own, which are finer.
  const std::int16_t* query_ = nullptr;
  NibbleQuery nibbles_ = {};  ///< kSq4
  const float* reals_ =
      nullptr;  ///< codes made of vectors: as these, or for inner products divided by its largest element
  const unsigned char* bits_ = nullptr;  ///< kBit: as these
  bool is_jaccard_ = false;              ///< kBit
  // The negative inner product is constant_ + unit_ * key; other distances are unit_ * key, or its root (L2, cosine).
  double unit_ = 0.0;
  double constant_ = 0.0;
  double slack_ = 0.0;     ///< L2 and cosine: taken from the key, since it adds to what is 0 in truth
  double rounding_ = 0.0;  ///< share of a distance that float32 may have rounded, in its kernel or the key's
  double error_ = 0.0;     ///< of that distance; infinity if not known
  double shared_error_ = 0.0;  ///< of nodes of several rows
  bool bounds_jaccard_ = false;
};

}  // namespace tandem::vec
